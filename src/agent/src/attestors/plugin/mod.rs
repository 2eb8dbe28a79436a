//! Attestors outside this tree: started, watched, called and started again.
//!
//! A plug-in that fails takes nothing with it but its own selectors: callers
//! are refused while it is away, or served without what it would have stated
//! where the admin marked it optional. Everything else goes on.

mod child;
mod link;
mod program;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::{InspectError, ProcessError};
use external::Plugin;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::{ConfigError, ExternalConfig};
use crate::core::Core;
use crate::entropy::Entropy;
use child::Child;
use link::Link;

/// How long one question may take: less than the host gives one attestation.
const PATIENCE: Duration = Duration::from_secs(4);
/// Questions in a row without an answer in time, after which a plug-in is taken
/// to hang and is started again.
const UNANSWERED: u32 = 3;
/// The longest wait before a plug-in that failed is started again.
const RETRY_CEILING: Duration = Duration::from_secs(60);
/// A plug-in that ran for so long is started again without much waiting.
const SETTLED: Duration = Duration::from_secs(60);

/// A plug-in as the attestor sees it: there, or not.
pub(super) struct PluginSeat {
    name: &'static str,
    runtime: Handle,
    life: Mutex<Option<Arc<Life>>>,
}

/// One run of the program, from being ready on.
struct Life {
    link: Link,
    unanswered: AtomicU32,
    hangs: Notify,
}

impl PluginSeat {
    fn set(&self, life: Option<Arc<Life>>) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    fn life(&self) -> Result<Arc<Life>, InspectError> {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.clone().ok_or_else(|| self.failed("does not run"))
    }

    fn failed(&self, why: &str) -> InspectError {
        InspectError::Unavailable(format!("the attestor {} {why}", self.name))
    }
}

impl Plugin for PluginSeat {
    fn attest(&self, pid: i32, may_wait: bool) -> Result<Vec<String>, InspectError> {
        if !may_wait {
            return Err(ProcessError::WouldBlock.into());
        }
        let life = self.life()?;
        let asked = async { tokio::time::timeout(PATIENCE, life.link.attest(pid)).await };
        match self.runtime.block_on(asked) {
            Ok(answer) => {
                life.unanswered.store(0, Ordering::Relaxed);
                // Its words may hold what it found out of the process.
                answer.map_err(|status| {
                    let code = status.code();
                    tracing::warn!(attestor = self.name, ?code, "an attestor failed");
                    self.failed(&format!("failed ({code:?})"))
                })
            }
            Err(_) => {
                if life.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED {
                    life.hangs.notify_one();
                }
                Err(self.failed("did not answer in time"))
            }
        }
    }
}

/// A plug-in as the agent runs it.
pub(crate) struct Supervised {
    seat: Arc<PluginSeat>,
    config: ExternalConfig,
    sha256: [u8; 32],
    trust_domain: String,
    /// The folder that is the plug-in's own.
    folder: PathBuf,
    clock: Clock,
    entropy: Entropy,
}

/// Why a plug-in's run ended.
enum End {
    Stop,
    Failed(String),
}

impl Supervised {
    /// A plug-in that does not run yet. To be called inside the runtime.
    pub(super) fn new(core: &Core, config: &ExternalConfig) -> Result<Self, ConfigError> {
        let settings = &core.settings;
        let seat = PluginSeat {
            // As long-lived as the names of all attestors: one for each section
            // of the configuration, once.
            name: config.name.clone().leak(),
            runtime: Handle::current(),
            life: Mutex::default(),
        };
        let folder = settings.config.data_dir.join("attestors");
        Ok(Self {
            seat: Arc::new(seat),
            config: config.clone(),
            sha256: config.digest()?,
            trust_domain: settings.trust_domain.to_string(),
            folder: folder.join(&config.name),
            clock: core.clock.clone(),
            entropy: core.entropy.clone(),
        })
    }

    /// The attestor's name.
    pub(super) fn name(&self) -> &'static str {
        self.seat.name
    }

    /// What the attestor asks.
    pub(super) fn seat(&self) -> Arc<PluginSeat> {
        Arc::clone(&self.seat)
    }

    /// Keeps the plug-in running until `stop`.
    pub(crate) async fn keep_running(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut backoff = Backoff::up_to(RETRY_CEILING);
        loop {
            let started = self.clock.boottime();
            let End::Failed(why) = self.run(&mut stop).await else {
                return;
            };
            self.seat.set(None);
            if self.clock.boottime().saturating_sub(started) > SETTLED {
                backoff.succeeded();
            }
            let wait = backoff.next(self.entropy.fraction());
            tracing::warn!(
                attestor = self.seat.name,
                why,
                ?wait,
                "an attestor does not run"
            );
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One life of the program.
    async fn run(&self, stop: &mut (impl Future<Output = ()> + Unpin)) -> End {
        let name = self.seat.name;
        let start = Child::start(name, &self.config, self.sha256, &self.folder);
        let mut child = tokio::select! {
            () = &mut *stop => return End::Stop,
            child = start => match child {
                Ok(child) => child,
                Err(why) => return End::Failed(why),
            },
        };
        let socket = child.socket().to_owned();
        let settings = (self.trust_domain.as_str(), self.config.config.as_str());
        let prepare = Link::open(name, &socket, child.pid(), settings);
        let link = tokio::select! {
            () = &mut *stop => return End::Stop,
            ended = child.ended() => return End::Failed(ended),
            link = prepare => match link {
                Ok(link) => link,
                Err(why) => {
                    child.kill().await;
                    return End::Failed(why);
                }
            },
        };
        tracing::info!(attestor = name, pid = child.pid(), "an attestor runs");
        let life = Arc::new(Life {
            link,
            unanswered: AtomicU32::new(0),
            hangs: Notify::new(),
        });
        self.seat.set(Some(Arc::clone(&life)));
        tokio::select! {
            () = &mut *stop => {
                self.seat.set(None);
                life.link.close().await;
                child.kill().await;
                End::Stop
            }
            ended = child.ended() => End::Failed(ended),
            () = life.hangs.notified() => {
                self.seat.set(None);
                child.kill().await;
                End::Failed("it does not answer any more".to_owned())
            }
        }
    }
}
