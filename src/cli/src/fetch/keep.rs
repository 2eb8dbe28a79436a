//! `bulla fetch x509 --watch --write`: PEM files that are always fresh, whatever
//! happens to the agent.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tonic::Streaming;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::kept::Kept;
use super::{client, svid_value};
use crate::command::{FetchArgs, WriteArgs};
use crate::dev::shutdown_signal;
use crate::failure::{Exit, Failure};
use crate::files::NewFile;
use crate::output::Output;
use crate::pem;
use crate::wire::workload::{X509svid, X509svidResponse};
use crate::workload_client::WorkloadClient;

/// Keeps the files until asked to stop.
///
/// # Errors
/// The folder cannot be used, the very first write fails, or the hook was failing
/// when the end was asked for.
pub(super) async fn x509(
    spiffe_id: Option<String>,
    write: &WriteArgs,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let Some(kept) = Kept::open(write, "x509")? else {
        return Err(Failure::usage("--write names no folder"));
    };
    let mut keeper = Keeper {
        began_as: began_as(&kept),
        kept,
        spiffe_id,
        debounce: Duration::from_millis(write.debounce_ms),
        not_after: None,
    };
    tokio::select! {
        () = shutdown_signal() => {}
        failed = keeper.run(agent, out) => return failed,
    }
    keeper.kept.finish()
}

/// Why following came to an end.
enum End {
    /// The agent went away or refuses, or a file could not be written: try again.
    Lost(Failure),
    /// Nothing could ever be written.
    Useless(Failure),
}

/// What went wrong with one update.
enum Failed {
    Agent(Failure),
    Write(Failure),
}

struct Keeper {
    kept: Kept,
    spiffe_id: Option<String>,
    /// Whose the files are, in this run or one before.
    began_as: Option<String>,
    debounce: Duration,
    not_after: Option<i64>,
}

impl Keeper {
    /// Follows the agent for ever; returns only what ends the command.
    async fn run(&mut self, agent: &FetchArgs, out: &mut Output) -> Result<(), Failure> {
        loop {
            match self.follow(agent, out).await {
                End::Lost(failure) => self.kept.back_off(&failure, self.not_after, out).await?,
                End::Useless(failure) => return Err(failure),
            }
        }
    }

    /// Follows one connection for as long as it lives.
    async fn follow(&mut self, agent: &FetchArgs, out: &mut Output) -> End {
        let mut stream = match self.connect(agent).await {
            Ok(stream) => stream,
            Err(failure) => return End::Lost(failure),
        };
        loop {
            let first = !self.kept.has_written();
            match self.take_one(&mut stream, out).await {
                Ok(()) => {}
                // What never worked will not by itself; a full disk may.
                Err(Failed::Write(failure)) if first => return End::Useless(failure),
                Err(Failed::Write(failure) | Failed::Agent(failure)) => return End::Lost(failure),
            }
        }
    }

    async fn connect(&self, agent: &FetchArgs) -> Result<Streaming<X509svidResponse>, Failure> {
        client(agent).await?.x509_stream().await
    }

    async fn take_one(
        &mut self,
        stream: &mut Streaming<X509svidResponse>,
        out: &mut Output,
    ) -> Result<(), Failed> {
        let next = self.kept.meanwhile(WorkloadClient::next(stream), out).await;
        let answer = next.map_err(Failed::Write)?.map_err(Failed::Agent)?;
        let answer = self.settled(answer, stream).await;
        let svid = pick(&answer, self.spiffe_id.as_deref()).map_err(Failed::Agent)?;
        if self.spiffe_id.is_none() {
            let began_as = self.began_as.as_deref();
            same_identity(began_as, &svid.spiffe_id, self.kept.path()).map_err(Failed::Agent)?;
        }
        let about = svid_value(svid).map_err(Failed::Agent)?;
        let files = files(svid, &answer);
        let written = self.kept.write(&files, about, out).await;
        written.map_err(Failed::Write)?;
        self.not_after = Some(not_after(svid));
        self.began_as = Some(svid.spiffe_id.clone());
        Ok(())
    }

    /// The newest of the updates that come within the debounce time.
    async fn settled(
        &self,
        mut answer: X509svidResponse,
        stream: &mut Streaming<X509svidResponse>,
    ) -> X509svidResponse {
        let mut over = pin!(tokio::time::sleep(self.debounce));
        loop {
            tokio::select! {
                biased;
                () = &mut over => return answer,
                newer = WorkloadClient::next(stream) => match newer {
                    Ok(newer) => answer = newer,
                    // What came is good; the loss shows at the next read.
                    Err(_lost) => return answer,
                },
            }
        }
    }
}

fn not_after(svid: &X509svid) -> i64 {
    let chain = pem::split_der(&svid.x509_svid);
    let leaf = X509Certificate::from_der(chain.first().copied().unwrap_or_default());
    leaf.map_or(0, |(_, leaf)| leaf.validity().not_after.timestamp())
}

/// Whose certificate an earlier run wrote.
pub(super) fn began_as(kept: &Kept) -> Option<String> {
    let pem = kept.read("svid.pem")?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let leaf = verify::leaf_identity(&block.contents).ok()?;
    Some(leaf.spiffe_id.to_string())
}

/// Refuses another identity than the files began with: which one comes first can
/// change behind the back of whoever reads the files, who would become somebody else.
///
/// # Errors
/// It is another.
pub(super) fn same_identity(
    began_as: Option<&str>,
    now: &str,
    folder: &Path,
) -> Result<(), Failure> {
    match began_as {
        Some(before) if before != now => Err(Failure::refused(format!(
            "the first identity of this process is {now} now, but the files in {} are those of \
             {before}; they are left as they are",
            folder.display()
        ))
        .next(format!(
            "keep it with --spiffe-id {before}, change over with --spiffe-id {now}, or remove the files"
        ))),
        _ => Ok(()),
    }
}

/// The identity to write: the one that is named, or the first.
///
/// # Errors
/// The agent did not send it.
pub(super) fn pick<'a>(
    answer: &'a X509svidResponse,
    spiffe_id: Option<&str>,
) -> Result<&'a X509svid, Failure> {
    let Some(wanted) = spiffe_id else {
        let first = answer.svids.first();
        return first.ok_or_else(|| Failure::refused("the agent sent no SVID"));
    };
    let found = answer.svids.iter().find(|svid| svid.spiffe_id == wanted);
    found.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("this process has no identity {wanted}"),
        )
        .next("see those it has with `bulla fetch x509`")
    })
}

/// The files of an identity: chain, key, both in one, and bundles.
pub(super) fn files(svid: &X509svid, answer: &X509svidResponse) -> Vec<NewFile> {
    let chain = certificates(&svid.x509_svid);
    let key = Zeroizing::new(pem::encode("PRIVATE KEY", &svid.x509_svid_key));
    let both = Zeroizing::new(format!("{}{chain}", *key));
    let file = |name: &str, contents, secret| NewFile {
        name: name.into(),
        contents,
        secret,
        plain: true,
    };
    let public = |text: String| Zeroizing::new(text);
    let mut files = vec![
        file("svid-key.pem", key, true),
        file("svid.pem", public(chain), false),
        file("svid-with-key.pem", both, true),
        file("bundle.pem", public(certificates(&svid.bundle)), false),
    ];
    for (domain, der) in &answer.federated_bundles {
        // Only a checked name may become part of a path.
        let bare = domain.strip_prefix("spiffe://").unwrap_or(domain);
        if let Ok(domain) = identity::TrustDomain::parse(bare) {
            let name = format!("bundle-{domain}.pem");
            files.push(NewFile {
                plain: false,
                ..file(&name, public(certificates(der)), false)
            });
        }
    }
    files
}

fn certificates(der: &[u8]) -> String {
    let each = pem::split_der(der).into_iter();
    each.map(|one| pem::encode("CERTIFICATE", one)).collect()
}
