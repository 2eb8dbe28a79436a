//! `bulla audit …`: who was given what, why somebody was refused, and whether
//! the record of it is whole.

mod archive;

use std::path::Path;

use serde_json::{Value, json};

use crate::admin::{connect, connect_to_stream};
use crate::command::{AdminSocket, AuditCommand, AuditFilter};
use crate::failure::{Exit, Failure};
use crate::output::{Output, utc};
use crate::wire::audit_v1::audit_client::AuditClient;
use crate::wire::audit_v1::{ListRequest, Record, VerifyRequest};

const COLUMNS: &[(&str, &str)] = &[
    ("SEQ", "seq"),
    ("TIME", "time"),
    ("KIND", "kind"),
    ("RESULT", "result"),
    ("WHO", "who"),
    ("FOR", "for"),
    ("REASON", "reason"),
];

/// Runs one `bulla audit` command.
///
/// # Errors
/// The server is away, a record does not exist, or the chain does not hold.
pub(crate) async fn run(command: AuditCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        AuditCommand::List { filter, admin } => {
            let rows: Vec<Value> = list(&filter, &admin).await?.iter().map(value).collect();
            Ok(out.rows(&rows, COLUMNS, "no records match")?)
        }
        AuditCommand::Export {
            from_seq,
            kind,
            follow,
            admin,
        } => export(from_seq, kind, follow, &admin, out).await,
        AuditCommand::Show { seq, admin } => show(seq, &admin, out).await,
        AuditCommand::Archive { to, dir, remove } => archive::run(&dir, &to, remove, out),
        AuditCommand::Verify {
            dir: None,
            archive: None,
            seq,
            hash,
            admin,
        } => online(seq, hash, &admin, out).await,
        AuditCommand::Verify {
            dir,
            archive,
            seq,
            hash,
            ..
        } => offline((archive.as_deref(), dir.as_deref()), (seq, hash), out),
    }
}

/// The newest records that match, oldest first.
///
/// # Errors
/// The server is away.
pub(crate) async fn list(
    filter: &AuditFilter,
    admin: &AdminSocket,
) -> Result<Vec<Record>, Failure> {
    let request = ListRequest {
        limit: filter.last,
        kinds: filter.kind.iter().cloned().collect(),
        spiffe_id: filter.for_whom.clone().unwrap_or_default(),
        refused_only: filter.refused,
        newest: true,
        ..ListRequest::default()
    };
    collect(request, admin).await
}

async fn collect(request: ListRequest, admin: &AdminSocket) -> Result<Vec<Record>, Failure> {
    let mut stream = AuditClient::new(connect(admin).await?)
        .list(request)
        .await?
        .into_inner();
    let mut records = Vec::new();
    while let Some(record) = stream.message().await? {
        records.push(record);
    }
    Ok(records)
}

/// One line of JSON for each record, as long as the server has some.
async fn export(
    from_seq: u64,
    kind: Option<String>,
    follow: bool,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let request = ListRequest {
        from_seq,
        kinds: kind.into_iter().collect(),
        follow,
        ..ListRequest::default()
    };
    let mut client = AuditClient::new(connect_to_stream(admin).await?);
    let mut stream = client.list(request).await?.into_inner();
    while let Some(record) = stream.message().await? {
        out.record(&value(&record))?;
    }
    Ok(())
}

/// A record for people and scripts. A decision's detail is JSON of its own.
#[must_use]
pub(crate) fn value(record: &Record) -> Value {
    let mut value = plain_value(record);
    let decision = (record.kind == "decision" && !record.detail.is_empty())
        .then(|| serde_json::from_str::<Value>(&record.detail).ok())
        .flatten();
    if let (Some(decision), Some(members)) = (decision, value.as_object_mut()) {
        members.insert("decision".into(), decision);
        members.insert("detail".into(), "".into());
    }
    value
}

fn plain_value(record: &Record) -> Value {
    json!({
        "seq": record.seq,
        "time": utc(record.at_ms.div_euclid(1000)),
        "at_ms": record.at_ms,
        "kind": record.kind,
        "result": record.result,
        "who": record.who,
        "for": record.for_whom,
        "entry_id": record.entry_id,
        "credential_id": record.credential_id,
        "not_after": utc(record.not_after),
        "authority_id": record.authority_id,
        "reason": record.reason,
        "detail": record.detail,
        "hash": hex::encode(&record.hash),
        "previous_hash": hex::encode(&record.previous_hash),
    })
}

async fn show(seq: u64, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let request = ListRequest {
        from_seq: seq,
        limit: 1,
        ..ListRequest::default()
    };
    let records = collect(request, admin).await?;
    let record = records.first().filter(|record| record.seq == seq);
    let missing = || Failure::new(Exit::NotFound, format!("no audit record {seq}"));
    Ok(out.object(&value(record.ok_or_else(missing)?))?)
}

async fn online(
    seq: Option<u64>,
    hash: Option<String>,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let kept = head_hash(hash)?;
    let request = VerifyRequest {
        seq: seq.unwrap_or_default(),
        hash: kept.map(|hash| hash.to_vec()).unwrap_or_default().into(),
    };
    let answer = AuditClient::new(connect(admin).await?)
        .verify(request)
        .await?
        .into_inner();
    if !answer.intact {
        return Err(broken(answer.fault_seq, &answer.fault));
    }
    report(answer.records, answer.seq, &hex::encode(&answer.hash), out)
}

fn offline(
    (archive, dir): (Option<&Path>, Option<&Path>),
    (seq, hash): (Option<u64>, Option<String>),
    out: &mut Output,
) -> Result<(), Failure> {
    let kept = match (seq, head_hash(hash)?) {
        (Some(seq), Some(hash)) => Some(journal::Head { seq, hash }),
        _ => None,
    };
    let verified = match (archive, dir) {
        (Some(archive), dir) => journal::verify_archive(archive, dir, kept.as_ref()),
        (None, dir) => journal::verify(dir.unwrap_or_else(|| Path::new(".")), kept.as_ref()),
    };
    match verified {
        Ok(verified) => {
            let (before, head) = (verified.before, verified.head);
            report(
                head.seq - before.seq,
                head.seq,
                &hex::encode(head.hash),
                out,
            )
        }
        Err(journal::JournalError::Damaged(fault)) => Err(broken(fault.seq, &fault.to_string())),
        Err(error) => Err(Failure::refused(error.to_string())
            .next("name the folder of a journal; stop the server if it has it open")),
    }
}

fn head_hash(hash: Option<String>) -> Result<Option<[u8; 32]>, Failure> {
    let Some(text) = hash else { return Ok(None) };
    let mut bytes = [0; 32];
    hex::decode_to_slice(&text, &mut bytes)
        .map_err(|error| Failure::usage(format!("--hash is not 64 hex digits: {error}")))?;
    Ok(Some(bytes))
}

fn broken(seq: u64, what: &str) -> Failure {
    Failure::refused(format!(
        "the audit chain does not hold at record {seq}: {what}"
    ))
    .next(
        "keep the folder as it is, compare it with an archived copy, and treat what was issued \
         since the last known head as unproven",
    )
}

fn report(records: u64, seq: u64, hash: &str, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(
            out.document(&json!({ "intact": true, "records": records, "seq": seq, "hash": hash }))?
        );
    }
    out.line(format!("intact: {records} records up to {seq}"))?;
    Ok(out.line(format!(
        "keep this head elsewhere: --seq {seq} --hash {hash}"
    ))?)
}
