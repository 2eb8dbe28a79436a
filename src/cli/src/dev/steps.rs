//! The steps of the tour. Each shows one promise and fails when it does not hold.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use super::process::Part;
use super::tour::Tour;
use super::{TRUST_DOMAIN, renewals, scopes};
use crate::command::{AuditFilter, TokenCreate};
use crate::failure::{Exit, Failure};
use crate::fetch::svid_value;
use crate::output::{member, text};
use crate::wire::entry_v1::BatchCreateEntryRequest;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::types;
use crate::workload_client::WorkloadClient;
use crate::{admin, audit, explain, node};

/// Lifetime of the caller's SVID, so short that a renewal can be watched.
pub(super) const SHORT_TTL: i32 = 6;
/// How long anything in the tour may take.
pub(super) const STEP_MAX: Duration = Duration::from_secs(15);
/// How often we ask again for what is on its way.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Takes all steps in order.
///
/// # Errors
/// The first that does not hold.
pub(super) async fn all(tour: &mut Tour<'_>) -> Result<(), Failure> {
    server(tour).await?;
    agent(tour).await?;
    first_svid(tour).await?;
    let (backend, address) = start_backend(tour).await?;
    mutual_tls(tour, &address).await?;
    intruder(tour, &address).await?;
    drop(backend);
    token(tour).await?;
    scopes::all(tour).await?;
    renewals::renewal(tour).await?;
    renewals::rotation(tour).await?;
    trail(tour).await
}

async fn server(tour: &mut Tour<'_>) -> Result<(), Failure> {
    tour.folder.write_configuration(TRUST_DOMAIN)?;
    let mut server = Part::start(&tour.program, "server", &tour.folder, None)?;
    server.listening(&tour.folder.admin_socket()).await?;
    let pid = server.pid();
    tour.server = Some(server);
    let folder = tour.folder.path().display().to_string();
    tour.held(
        "the server is up",
        &[("pid", pid.into()), ("folder", folder.into())],
    )
}

/// Joins an agent by the same means an admin would use, and registers who may
/// be what on its node.
async fn agent(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let spiffe_id = Some(format!("spiffe://{TRUST_DOMAIN}/node"));
    let join = node::create_token(&TokenCreate {
        ttl: 60,
        spiffe_id,
        admin: tour.admin(),
    })
    .await?;
    let info = join.info();
    let pin = info.bundle_sha256.first().cloned().unwrap_or_default();
    tour.folder
        .write_agent_configuration(TRUST_DOMAIN, &info.address, &pin)?;
    let mut agent = Part::start(&tour.program, "agent", &tour.folder, Some(join.secret()))?;
    let registered = register(tour).await?;
    agent.listening(&tour.folder.workload_socket()).await?;
    let pid = agent.pid();
    tour.agent = Some(agent);
    let seen = [
        ("pid", Value::from(pid)),
        ("server", info.address.clone().into()),
        ("pinned to", pin.into()),
        ("registered", registered.into()),
    ];
    tour.held(
        "an agent has joined with a single-use token and a pinned bundle",
        &seen,
    )
}

/// One entry for whoever runs the tour, by uid; one for each demo service, by
/// uid and path together.
async fn register(tour: &Tour<'_>) -> Result<Vec<String>, Failure> {
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let path = |name: &str| {
        format!(
            "unix:path:{}",
            tour.folder.path().join("bin").join(name).display()
        )
    };
    let entry = |name: &str, ttl: i32, selectors: &[String]| -> Result<types::Entry, Failure> {
        Ok(types::Entry {
            spiffe_id: Some(admin::wire_id(&format!("spiffe://{TRUST_DOMAIN}/{name}"))?),
            parent_id: Some(admin::wire_id(&format!("spiffe://{TRUST_DOMAIN}/node"))?),
            selectors: selectors
                .iter()
                .map(|s| admin::wire_selector(s))
                .collect::<Result<_, _>>()?,
            x509_svid_ttl: ttl,
            // The service's own identity comes before the one its user has.
            hint: if selectors.len() > 1 {
                "default".into()
            } else {
                String::new()
            },
            ..types::Entry::default()
        })
    };
    let mut entries = vec![entry("caller", SHORT_TTL, std::slice::from_ref(&uid))?];
    for name in ["frontend", "backend", "intruder", "payments"] {
        entries.push(entry(name, 0, &[uid.clone(), path(name)])?);
    }
    let mut client = EntryClient::new(admin::connect(&tour.admin()).await?);
    let request = BatchCreateEntryRequest {
        entries,
        output_mask: None,
    };
    let answer = client.batch_create_entry(request).await?.into_inner();
    let mut lines = Vec::new();
    for result in &answer.results {
        admin::check_item(result.status.as_ref())?;
        if let Some(entry) = &result.entry {
            let selectors = admin::selector_texts(&entry.selectors).join(" + ");
            lines.push(format!(
                "{} for {selectors}",
                admin::id_text(entry.spiffe_id.as_ref())
            ));
        }
    }
    Ok(lines)
}

async fn first_svid(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let mut client = WorkloadClient::connect(&tour.workload_socket(), STEP_MAX).await?;
    // Entries travel to the agent by push; until they are there we have no identity.
    let mut look = tokio::time::interval(LOOK_EVERY);
    let waiting = async {
        loop {
            look.tick().await;
            match client.x509().await {
                Err(failure) if not_yet(&failure) => {}
                answer => return answer,
            }
        }
    };
    let late = |_| Failure::unreachable("no SVID arrived");
    let answer = timeout(STEP_MAX, waiting).await.map_err(late)??;
    let svid = answer
        .svids
        .first()
        .ok_or_else(|| Failure::refused("the agent sent no SVID"))?;
    let value = svid_value(svid)?;
    let explained = explain::me(&tour.workload_socket()).await?;
    let attested = explain::selectors(&explained);
    if attested.is_empty() {
        return Err(Failure::refused("nothing was attested of this process"));
    }
    let seen = [
        ("attested", Value::Array(attested)),
        ("strength", member(&explained, "strength")),
        ("SPIFFE ID", member(&value, "spiffe_id")),
        ("serial", member(&value, "serial")),
        ("valid until", member(&value, "not_after")),
    ];
    tour.held("this process was attested and has an X.509-SVID", &seen)
}

/// Whether a failure is that of an agent that has not heard of us so far.
fn not_yet(failure: &Failure) -> bool {
    failure.exit == Exit::Unreachable || failure.what.starts_with("no identity issued")
}

async fn start_backend(tour: &mut Tour<'_>) -> Result<(Child, String), Failure> {
    let allow = format!("spiffe://{TRUST_DOMAIN}/frontend");
    let (child, line) = start(tour, "backend", &["serve", "--allow", &allow]).await?;
    let address = text(&line, "listening");
    let seen = [
        ("SPIFFE ID", member(&line, "id")),
        ("listening", member(&line, "listening")),
    ];
    tour.held("a backend serves mutual TLS with its own SVID", &seen)?;
    Ok((child, address))
}

/// Starts a demo service that listens; answers with what it says of itself.
pub(super) async fn start(
    tour: &Tour<'_>,
    name: &str,
    demo: &[&str],
) -> Result<(Child, Value), Failure> {
    let mut command = tour.service(name)?;
    command.arg("demo").args(demo);
    command.args(["--workload-socket", &tour.workload_socket()]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| Failure::refused(format!("{name} has no output")))?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(STEP_MAX, lines.next_line())
        .await
        .map_err(|_elapsed| Failure::unreachable(format!("{name} did not start")))??
        .ok_or_else(|| Failure::refused(format!("{name} ended at once")))?;
    let line: Value = serde_json::from_str(&line).unwrap_or_default();
    Ok((child, line))
}

async fn call(tour: &Tour<'_>, name: &str, to: &str) -> Result<super::tour::Finished, Failure> {
    let mut command = tour.service(name)?;
    command.args([
        "demo",
        "call",
        "--workload-socket",
        &tour.workload_socket(),
        "--to",
        to,
    ]);
    command.args(["--expect", &format!("spiffe://{TRUST_DOMAIN}/backend")]);
    tour.finish(&mut command, "").await
}

async fn mutual_tls(tour: &mut Tour<'_>, to: &str) -> Result<(), Failure> {
    let done = call(tour, "frontend", to).await?;
    if !done.success || text(&done.answer, "id") != format!("spiffe://{TRUST_DOMAIN}/frontend") {
        return Err(Failure::refused(format!(
            "the frontend was not served: {}",
            done.errors
        )));
    }
    let seen = [
        ("client", member(&done.answer, "id")),
        ("server", member(&done.answer, "server")),
        ("answer", member(&done.answer, "answer")),
    ];
    tour.held("a frontend called it; both proved who they are", &seen)
}

async fn intruder(tour: &mut Tour<'_>, to: &str) -> Result<(), Failure> {
    let done = call(tour, "intruder", to).await?;
    let answer = text(&done.answer, "answer");
    if done.success || !answer.starts_with("refused ") {
        return Err(Failure::refused("the backend served an intruder"));
    }
    let seen = [
        ("client", member(&done.answer, "id")),
        ("answer", member(&done.answer, "answer")),
    ];
    tour.held(
        "an intruder with a valid SVID of its own was refused",
        &seen,
    )
}

async fn token(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let socket = tour.workload_socket();
    let mut fetch = tour.service("frontend")?;
    fetch.args(["fetch", "jwt", "--token-only", "--audience", "backend"]);
    fetch.args(["--workload-socket", &socket]);
    let token = tour.finish(&mut fetch, "").await?;
    if !token.success {
        return Err(Failure::refused(format!(
            "the frontend got no token: {}",
            token.errors
        )));
    }
    let check = |tour: &Tour<'_>, audience: &str| -> Result<_, Failure> {
        let mut command = tour.service("backend")?;
        command.args([
            "demo",
            "check",
            "--workload-socket",
            &socket,
            "--audience",
            audience,
        ]);
        Ok(command)
    };
    let accepted = tour
        .finish(&mut check(tour, "backend")?, &token.text)
        .await?;
    if !accepted.success {
        return Err(Failure::refused(format!(
            "its own audience refused it: {}",
            accepted.errors
        )));
    }
    let refused = tour
        .finish(&mut check(tour, "reporting")?, &token.text)
        .await?;
    if refused.success {
        return Err(Failure::refused("another audience accepted the token"));
    }
    let seen = [
        ("token of", member(&accepted.answer, "spiffe_id")),
        ("backend", "accepted".into()),
        (
            "reporting",
            format!("refused: {}", refused.complaint()).into(),
        ),
    ];
    tour.held(
        "a JWT-SVID is accepted by its audience and by no other",
        &seen,
    )
}

async fn trail(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let filter = AuditFilter {
        last: 500,
        ..AuditFilter::default()
    };
    let records = audit::list(&filter, &tour.admin()).await?;
    let count = |kind: &str| records.iter().filter(|r| r.kind == kind).count();
    for kind in ["attest", "entry_create", "issue_x509", "issue_jwt"] {
        if count(kind) == 0 {
            return Err(Failure::refused(format!(
                "the audit trail has no {kind} record"
            )));
        }
    }
    let lines: Vec<Value> = records
        .iter()
        .filter(|r| ["attest", "issue_jwt"].contains(&r.kind.as_str()))
        .map(|r| {
            json!(format!(
                "{} {} {} for {}",
                r.seq, r.kind, r.result, r.for_whom
            ))
        })
        .collect();
    let head = records.last();
    let seen = [
        ("records", records.len().into()),
        ("among them", Value::Array(lines)),
        (
            "head",
            head.map(|r| hex::encode(&r.hash))
                .unwrap_or_default()
                .into(),
        ),
    ];
    tour.held(
        "every one of these steps is in the hash-chained audit trail",
        &seen,
    )
}
