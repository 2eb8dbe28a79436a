//! `bulla.fleet.v1.Fleet`: the agents of this server, looked at again and again;
//! each look sends what is not as it was at the last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::fleet::fleet_server::Fleet;
use api::fleet::{self as wire, WatchRequest, WatchResponse, agent};
use channel::Draining;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use identity::SpiffeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use crate::failure::{Failure, Kind};
use crate::limits;
use crate::server::Server;
use crate::state::{AgentState, Contact};

/// Between two looks unless the caller says.
const INTERVAL_MS: u32 = 1_000;

/// The service.
#[derive(Clone)]
pub(super) struct FleetService {
    server: Arc<Server>,
    watchers: Arc<Semaphore>,
}

impl FleetService {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            watchers: Arc::new(Semaphore::new(limits::MAX_FLEET_WATCHERS)),
        }
    }
}

/// One who watches.
struct Watcher {
    server: Arc<Server>,
    draining: Option<Draining>,
    known: HashMap<SpiffeId, AgentState>,
    pages: VecDeque<WatchResponse>,
    interval: Duration,
    looked: bool,
    once: bool,
    _slot: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(&mut self) -> Option<WatchResponse> {
        loop {
            if let Some(page) = self.pages.pop_front() {
                return Some(page);
            }
            if self.looked {
                if self.once {
                    return None;
                }
                let draining = self.draining.as_mut();
                tokio::select! {
                    () = drained(draining) => return None,
                    () = tokio::time::sleep(self.interval) => {}
                }
            }
            self.looked = true;
            self.look();
        }
    }

    /// Looks, and puts into messages what is not as it was.
    fn look(&mut self) {
        let mut now = self.server.state.fleet();
        let mut changed: Vec<wire::Agent> = Vec::new();
        for (id, agent) in &now {
            if self.known.get(id) != Some(agent) {
                changed.push(to_wire(agent));
            }
        }
        let gone = self.known.keys().filter(|id| !now.contains_key(*id));
        let gone: Vec<String> = gone.map(|id| id.as_str().to_owned()).collect();
        std::mem::swap(&mut self.known, &mut now);
        let mut pages: VecDeque<WatchResponse> = changed
            .chunks(limits::FLEET_PAGE)
            .map(|agents| WatchResponse {
                agents: agents.to_vec(),
                ..WatchResponse::default()
            })
            .collect();
        pages.extend(gone.chunks(limits::FLEET_PAGE).map(|gone| WatchResponse {
            gone: gone.to_vec(),
            ..WatchResponse::default()
        }));
        if pages.is_empty() {
            pages.push_back(WatchResponse::default());
        }
        if let Some(last) = pages.back_mut() {
            last.server = Some(self.server_now());
        }
        self.pages = pages;
    }

    fn server_now(&self) -> wire::Server {
        let state = &self.server.state;
        let registry = state.registry();
        let counts = registry.counts();
        let own = registry.bundle(state.trust_domain());
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        wire::Server {
            now_ms: self.server.clock.now_ms(),
            view_age_ms: u64::try_from(state.view_age().as_millis()).unwrap_or(u64::MAX),
            revision: state.position().revision,
            bundle_sequence: own.map_or(0, |bundle| bundle.sequence),
            entries: count(counts.entries),
            agents: count(counts.nodes),
        }
    }
}

/// Completes when the connection is to end; never when nobody tells.
async fn drained(draining: Option<&mut Draining>) {
    match draining {
        Some(draining) => draining.wait().await,
        None => std::future::pending().await,
    }
}

fn to_wire(agent: &AgentState) -> wire::Agent {
    let node = &agent.node;
    let mut wire = wire::Agent {
        spiffe_id: node.id.as_str().to_owned(),
        attestor: node.attestor.to_string(),
        agent_version: node.agent_version.clone(),
        banned: node.banned,
        expires_at: node.expires_at.0,
        contact: agent::Contact::Away.into(),
        aliases: agent.aliases.iter().map(ToString::to_string).collect(),
        selectors: node
            .selectors
            .iter()
            .take(limits::MAX_SHOWN_OF_AGENT)
            .map(ToString::to_string)
            .collect(),
        ..wire::Agent::default()
    };
    if let Some(heard) = &agent.heard {
        wire.heard_at = heard.at.0;
        wire.host = heard.host.to_string();
        wire.address = heard.address.map(|at| at.to_string()).unwrap_or_default();
    }
    match agent.contact {
        Contact::Away => {}
        Contact::Polling { at, bundle } => {
            wire.contact = agent::Contact::Polling.into();
            wire.since = at.0;
            wire.bundle_sequence = bundle;
        }
        Contact::Following(following) => {
            wire.contact = agent::Contact::Following.into();
            wire.since = following.since.0;
            wire.revision_sent = following.sent;
            wire.revision_acknowledged = following.acknowledged;
            wire.lag_ms = following.lag_ms;
            wire.bundle_sequence = following.bundle;
            wire.entries = following.entries;
        }
    }
    wire
}

#[tonic::async_trait]
impl Fleet for FleetService {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let slot = Arc::clone(&self.watchers).try_acquire_owned();
        let slot = slot.map_err(|_full| {
            let message = "too many are watching the fleet; try again later";
            Failure::new(Kind::Exhausted, message)
        })?;
        let draining = request.extensions().get::<Draining>().cloned();
        let WatchRequest { interval_ms, once } = request.into_inner();
        let interval_ms = match interval_ms {
            0 => INTERVAL_MS,
            given => given.max(limits::MIN_FLEET_INTERVAL_MS),
        };
        let watcher = Watcher {
            server: Arc::clone(&self.server),
            draining,
            known: HashMap::new(),
            pages: VecDeque::new(),
            interval: Duration::from_millis(interval_ms.into()),
            looked: false,
            once,
            _slot: slot,
        };
        let stream = stream::unfold(watcher, |mut watcher| async {
            let page = watcher.next().await?;
            Some((Ok(page), watcher))
        });
        Ok(Response::new(stream.boxed()))
    }
}
