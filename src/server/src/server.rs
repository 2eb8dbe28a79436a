//! Everything a service is given, and the one function that puts it together.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use authority::SerialPrefix;
use channel::{LiveBundles, LiveIdentity};
use identity::{Seconds, Timestamp};
use records::AuditKind;
use store::Store;
use tokio::sync::watch;
use tonic_health::server::HealthReporter;

use crate::attest::{Attestation, Terms};
use crate::audit::{Audit, AuditParts};
use crate::authorities::{self, Authorities, Plan};
use crate::authz::{self, Accounts};
use crate::budget_rows;
use crate::budgets::Budgets;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::Settings;
use crate::duties::Duties;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::issue::{self, Issuer, Lifetimes, ServerSvid};
use crate::limits;
use crate::metrics::Meters;
use crate::open::Opened;
use crate::revocation::Revocations;
use crate::state::{Loading, State, follow};
use crate::tokens::{self, Tokens};

/// Where a running server is reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ready {
    /// The trust domain.
    pub trust_domain: String,
    /// The server API, as bound.
    pub listen: std::net::SocketAddr,
    /// The server API, as agents are told.
    pub advertise: String,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// `/live`, `/ready` and `/metrics`, when switched on.
    pub ops: Option<std::net::SocketAddr>,
    /// Discovery and keys over HTTPS, when switched on.
    pub public: Option<std::net::SocketAddr>,
}

/// The parts of a running server, for the services that run on them.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) state: State,
    pub(crate) audit: Audit,
    pub(crate) authorities: Authorities,
    pub(crate) issuer: Issuer,
    pub(crate) revocations: Revocations,
    pub(crate) attestation: Attestation,
    pub(crate) tokens: Tokens,
    /// What each principal may take, and what is taken.
    pub(crate) budgets: Budgets,
    /// What each caller has in progress.
    pub(crate) accounts: Arc<Accounts>,
    /// The server's own certificate, as listeners show it.
    pub(crate) identity: Arc<LiveIdentity>,
    pub(crate) bundles: Arc<LiveBundles>,
    /// What must happen by itself, and by when.
    pub(crate) duties: Duties,
    /// What gRPC health answers.
    pub(crate) serving: HealthReporter,
    pub(crate) started_at: Timestamp,
    /// Set once the listeners are bound.
    pub(crate) ready: OnceLock<Ready>,
    /// Whether shutdown has begun: nothing new is taken on.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Server {
    /// Builds the server on opened storage: state, authorities, issuance, attestation,
    /// in the order in which each needs the one before. With it comes when its own SVID
    /// is to be renewed.
    ///
    /// # Errors
    /// The state cannot be loaded, or there can be no signing authority.
    pub(crate) async fn build(
        settings: Settings,
        opened: Opened,
        (clock, entropy): (Clock, Entropy),
        stopping: watch::Receiver<bool>,
    ) -> Result<(Arc<Self>, ServerSvid), Failure> {
        authz::check_coverage(api::FILE_DESCRIPTOR_SET).map_err(Failure::internal)?;
        let meters = Meters::new();
        let budgets = Budgets::default();
        let shortest = settings.ca_ttl.min(settings.jwt_key_ttl);
        let duties = Duties::new(shortest, clock.since_boot());
        let (store, keys) = (Arc::clone(&opened.store), Arc::clone(&opened.keys));
        let parts = (&clock, &meters, &duties);
        let audit = start_audit(&settings, opened, parts, stopping.clone()).await?;
        let bundles = LiveBundles::empty();
        let state = load(
            &settings,
            (store, &bundles),
            &audit,
            (&clock, &entropy, &meters, &duties),
        )
        .await?;
        let authorities = Authorities::start(authorities::Parts {
            keys,
            state: state.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            plan: plan(&settings)?,
        })
        .await?;
        audit.fill_outstanding(authorities.longest()).await;
        let issuer = Issuer::new(issue::Parts {
            state: state.clone(),
            authorities: authorities.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            serials: authorities.serials(),
            lifetimes: lifetimes(&settings),
            meters,
            shares: issue::Shares::new(&budgets),
            far: issue::FarAway::new(settings.signing_timeout, limits::FAR_SIGNATURES),
        });
        let revocations = Revocations::new(
            (&state, &audit, &authorities, &clock),
            settings.signing_timeout,
        );
        let tokens = scoped(&issuer, &revocations, &settings, stopping.clone()).await;
        let attestation = attestation(&issuer, &settings)?;
        budget_rows::register(&budgets, &state, &audit, &attestation);
        let server = Self {
            started_at: clock.now(),
            identity: LiveIdentity::empty(),
            settings,
            clock,
            entropy,
            state,
            audit,
            authorities,
            issuer,
            revocations,
            attestation,
            tokens,
            accounts: Accounts::new(&budgets),
            budgets,
            bundles,
            duties,
            serving: HealthReporter::new(),
            ready: OnceLock::new(),
            stopping,
        };
        let svid = server.issuer.renew_server_svid(&server.identity).await?;
        Ok((Arc::new(server), svid))
    }

    /// Completes when shutdown has begun.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        when_stopped(self.stopping.clone())
    }

    /// What agents are told to dial.
    pub(crate) fn advertised(&self) -> &str {
        self.ready
            .get()
            .map_or("", |ready| ready.advertise.as_str())
    }
}

/// The state, which follows the store from now on.
async fn load(
    settings: &Settings,
    (store, bundles): (Arc<dyn Store>, &Arc<LiveBundles>),
    audit: &Audit,
    (clock, entropy, meters, duties): (&Clock, &Entropy, &Meters, &Duties),
) -> Result<State, Failure> {
    let state = State::load(Loading {
        trust_domain: settings.trust_domain.clone(),
        store,
        live_bundles: Arc::clone(bundles),
        audit: audit.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        meters: meters.clone(),
        following: duties.following.clone(),
    })
    .await?;
    tokio::spawn(follow(state.clone()));
    Ok(state)
}

/// The decision log, with the record of this start.
async fn start_audit(
    settings: &Settings,
    opened: Opened,
    (clock, meters, duties): (&Clock, &Meters, &Duties),
    stopping: watch::Receiver<bool>,
) -> Result<Audit, Failure> {
    let parts = AuditParts {
        journal: opened.journal,
        dir: opened.journal_dir,
        disk: (settings.data_dir.clone(), settings.watermarks),
        shares: settings.journal_shares,
        retention: settings.retention.clone(),
        newest_ms: opened.newest_record_ms,
        clock: clock.clone(),
        meters: meters.clone(),
        duty: duties.journal.clone(),
    };
    let audit = Audit::new(parts, stopping);
    let draft = audit.draft(&audit.record(AuditKind::Startup, &Caller::Server))?;
    audit.append(vec![draft]).await?;
    Ok(audit)
}

/// Attestation on what the issuer stands on.
fn attestation(issuer: &Issuer, settings: &Settings) -> Result<Attestation, Failure> {
    let issuing = issuer.parts();
    Ok(Attestation::new(
        issuing.state.clone(),
        issuer.clone(),
        issuing.audit.clone(),
        (issuing.clock.clone(), issuing.entropy.clone()),
        issuing.meters.clone(),
        terms(settings),
        crate::attest::attestors(settings)?,
    ))
}

/// Scoped tokens on what the issuer stands on, with the active policy set loaded.
async fn scoped(
    issuer: &Issuer,
    revocations: &Revocations,
    settings: &Settings,
    stopping: watch::Receiver<bool>,
) -> Tokens {
    let issuing = issuer.parts();
    let tokens = Tokens::new(tokens::Parts {
        state: issuing.state.clone(),
        authorities: issuing.authorities.clone(),
        audit: issuing.audit.clone(),
        clock: issuing.clock.clone(),
        entropy: issuing.entropy.clone(),
        meters: issuing.meters.clone(),
        far: issuing.far.clone(),
        revocations: revocations.clone(),
        longest: settings.max_jwt_ttl.max(settings.jwt_ttl),
        issuer: settings.issuer(),
    });
    tokens.start(when_stopped(stopping)).await;
    tokens
}

async fn when_stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that whoever stops us is gone, which is also an end.
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

fn plan(settings: &Settings) -> Result<Plan, Failure> {
    let serials = SerialPrefix::new(settings.server_number)
        .ok_or_else(|| Failure::invalid("server_number is not 1 to 127"))?;
    Ok(Plan {
        server_number: settings.server_number,
        serials,
        x509_key: settings.ca_key,
        x509_lifetime: settings.ca_ttl,
        jwt_key: settings.jwt_key,
        jwt_lifetime: settings.jwt_key_ttl,
        jwt_issuer: settings.jwt_issuer.clone(),
        access_issuer: settings.issuer(),
        longest_x509: settings
            .max_x509_ttl
            .max(settings.agent_ttl)
            .max(settings.x509_ttl),
        longest_jwt: settings.max_jwt_ttl.max(settings.jwt_ttl),
        upstream: settings.upstream.clone(),
        downstream_levels: settings.downstream_levels,
        longest_downstream: if settings.downstream_levels == 0 {
            Seconds(0)
        } else {
            settings.ca_ttl
        },
        propagation: settings.propagation,
        patience: settings.patience,
    })
}

fn lifetimes(settings: &Settings) -> Lifetimes {
    Lifetimes {
        x509: settings.x509_ttl,
        max_x509: settings.max_x509_ttl,
        jwt: settings.jwt_ttl,
        max_jwt: settings.max_jwt_ttl,
    }
}

pub(crate) fn terms(settings: &Settings) -> Terms {
    Terms {
        agent_ttl: settings.agent_ttl,
        token_ttl: settings.join_token_ttl,
        max_token_ttl: settings.max_join_token_ttl,
        concurrency: settings.attest_concurrency,
    }
}
