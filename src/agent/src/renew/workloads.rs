//! The workloads' X.509-SVIDs: the agent makes the keys and asks for the
//! certificates in batches, as soon as an entry arrives and again at half life.

use std::sync::Arc;

use api::issuance::issuance_client::IssuanceClient;
use api::issuance::issue_x509_request::Item;
use api::issuance::issue_x509_response::Result as Outcome;
use api::issuance::{IssueX509Request, IssueX509Response};
use bytes::Bytes;
use identity::{Entry, PrivateKeyDer, Timestamp, X509Svid};
use keys::{KeyError, KeyType, PublicKey};
use workload::Issued;
use zeroize::Zeroizing;

use crate::core::Core;
use crate::enrol::leaf_key;
use crate::entropy::Entropy;
use crate::health::Part;
use crate::limits;

/// Keys made on the event loop; more are made beside it.
const FEW_KEYS: usize = 8;

type Key = (Zeroizing<Vec<u8>>, PublicKey);

/// Issues whatever is due, for as long as the agent runs.
pub(crate) async fn keep_workloads_young(core: Arc<Core>) {
    let duty = &core.duties.workload_svids;
    loop {
        // Listening before looking: an SVID of the agent's own that comes in between is not
        // missed.
        let mut renewed = std::pin::pin!(core.renewed.notified());
        renewed.as_mut().enable();
        core.hub.tick();
        let due = if core.has_valid_identity() {
            core.hub.take_due(limits::ISSUE_BATCH)
        } else {
            Vec::new()
        };
        if due.is_empty() {
            if core.has_valid_identity() {
                duty.done(core.clock.boottime());
            } else {
                duty.rest();
            }
            tokio::select! {
                () = core.hub.due.notified() => {}
                () = renewed => {}
                () = tokio::time::sleep(pause(&core)) => {}
            }
            continue;
        }
        match issue(&core, &due).await {
            Ok(()) => duty.done(core.clock.boottime()),
            Err(reason) => {
                let why = format!("X.509-SVIDs were not issued: {reason}");
                duty.failed(core.clock.boottime(), why.as_str());
                core.problem(Part::Issuance, why);
                core.hub.fail_x509(due.iter().map(|entry| &entry.id));
            }
        }
    }
}

/// Until something is due; while the agent itself has no valid SVID, nothing is.
fn pause(core: &Core) -> std::time::Duration {
    if core.has_valid_identity() {
        core.hub.until_due()
    } else {
        limits::LONGEST_SLEEP
    }
}

async fn issue(core: &Core, due: &[Arc<Entry>]) -> Result<(), String> {
    let keys = make_keys(core.settings.x509_key_type, &core.entropy, due.len())
        .await
        .map_err(|e| e.to_string())?;
    let items = due.iter().zip(&keys).map(|(entry, (_, public))| Item {
        entry_id: entry.id.to_string(),
        spki: Bytes::copy_from_slice(public.spki_der()),
    });
    let request = IssueX509Request {
        items: items.collect(),
    };
    let answer = call(core, request).await?;
    if answer.results.len() != due.len() {
        return Err("the server's answer has another length than the request".to_owned());
    }
    let now = core.now();
    let (mut issued, mut failed) = (Vec::new(), Vec::new());
    for ((entry, key), outcome) in due.iter().zip(keys).zip(answer.results) {
        match accept(entry, &key, outcome, now) {
            Ok(svid) => issued.push((Arc::clone(entry), svid)),
            Err(why) => {
                tracing::warn!(entry = %entry.id, why, "an X.509-SVID was not issued");
                failed.push(&entry.id);
            }
        }
    }
    metrics::counter!("bulla_agent_x509_svids_issued_total").increment(issued.len() as u64);
    if failed.is_empty() {
        core.works(Part::Issuance);
    } else {
        core.problem(
            Part::Issuance,
            format!("{} X.509-SVIDs were refused", failed.len()),
        );
    }
    core.hub.store_x509(issued);
    core.hub.fail_x509(failed);
    Ok(())
}

async fn call(core: &Core, request: IssueX509Request) -> Result<IssueX509Response, String> {
    let issue = |channel| {
        let request = request.clone();
        async move {
            IssuanceClient::new(channel)
                .max_decoding_message_size(limits::SERVER_MESSAGE)
                .issue_x509(request)
                .await
        }
    };
    let answer = core.link.call(issue).await;
    answer.map_err(|status| format!("{} ({})", status.message(), status.code()))
}

/// Checks what was issued against what was asked for.
fn accept(entry: &Entry, key: &Key, outcome: Outcome, now: Timestamp) -> Result<Issued, String> {
    let status = outcome.status.ok_or("the outcome has no status")?;
    if status.code != 0 {
        return Err(status.message);
    }
    let leaf = outcome.chain.first().ok_or("the chain is empty")?;
    let said = verify::leaf_identity(leaf).map_err(|e| e.to_string())?;
    if said.spiffe_id != entry.spiffe_id {
        return Err("the certificate names another SPIFFE ID".to_owned());
    }
    if said.not_after <= now {
        return Err("the certificate has expired".to_owned());
    }
    if leaf_key(leaf) != Some(key.1.spki_der()) {
        return Err("the certificate is for another key".to_owned());
    }
    Ok(Issued {
        svid: X509Svid {
            spiffe_id: said.spiffe_id,
            chain: outcome
                .chain
                .iter()
                .map(|der| Arc::from(der.as_ref()))
                .collect(),
            not_before: said.not_before,
            not_after: said.not_after,
        },
        key: PrivateKeyDer::new(&key.0),
        received_at: now,
    })
}

async fn make_keys(
    key_type: KeyType,
    entropy: &Entropy,
    count: usize,
) -> Result<Vec<Key>, KeyError> {
    let entropy = entropy.clone();
    let make = move || {
        (0..count)
            .map(|_| keys::generate_pkcs8(key_type, entropy.rng()))
            .collect()
    };
    if count <= FEW_KEYS {
        return make();
    }
    tokio::task::spawn_blocking(make)
        .await
        .unwrap_or(Err(KeyError::NoRandomness))
}
