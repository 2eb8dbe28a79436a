//! Why: decisions found again in the log, and what the active policies would grant
//! to whom.

use std::sync::Arc;

use identity::SpiffeId;
use pdp::{Answer, Survey};
use policy::{Digest, PolicyRef};
use records::AuditKind;

use super::{Active, Tokens};
use crate::audit::Seen;
use crate::failure::{Failure, Kind};

/// Records may be this much out of order by their times, in milliseconds.
pub(super) const DISORDER_MS: i64 = 120_000;
/// No token lives longer than this, in milliseconds.
const LONGEST_MS: i64 = 25 * 3_600_000;

/// What is to be explained.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// The decision that a token was minted by.
    Token(String),
    /// A decision by its id.
    Decision(String),
}

/// A decision read back.
#[derive(Debug, Clone)]
pub(crate) struct Explained {
    /// Its JSON.
    pub(crate) json: String,
    /// Where it stands in the log.
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
    /// Whether the set that decided is the active one.
    pub(crate) active: bool,
}

/// One workload and one permission that it can have, now or under conditions.
#[derive(Debug, Clone)]
pub(crate) struct Can {
    pub(crate) spiffe_id: String,
    pub(crate) entry_id: String,
    pub(crate) audience: String,
    pub(crate) permission: String,
    pub(crate) policies: Vec<PolicyRef>,
    /// Each way to it, in words; none is needed for what can be had now.
    pub(crate) conditions: Vec<String>,
}

/// What the active policies grant, and which set says so.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// As things stand.
    pub(crate) can: Vec<Can>,
    /// Not now, but under other circumstances.
    pub(crate) possible: Vec<Can>,
    pub(crate) examined: usize,
    pub(crate) policy_set: Digest,
}

impl Tokens {
    /// Finds a decision in the log.
    ///
    /// # Errors
    /// It is not there, or the log cannot be read.
    pub(crate) async fn explain(&self, question: Question) -> Result<Explained, Failure> {
        let slot = self.0.parts.audit.reader()?;
        let tokens = self.clone();
        let found = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            tokens.find(&question)
        });
        let seen = found.await.map_err(Failure::internal)??;
        let view = seen.record.view();
        let json = view.detail.to_owned();
        let decided: Option<policy::DecisionRecord> =
            policy::DecisionRecord::from_json(json.as_bytes()).ok();
        let active = self.active().map(|active| active.engine.digest());
        Ok(Explained {
            active: decided.is_some_and(|decided| Some(decided.policy_set) == active),
            json,
            seq: seen.seq,
            hash: seen.hash,
        })
    }

    fn find(&self, question: &Question) -> Result<Seen, Failure> {
        let audit = &self.0.parts.audit;
        let newest = audit.head().seq;
        match question {
            Question::Decision(id) => {
                let at = decided_at(id).ok_or_else(|| {
                    Failure::invalid("id: a decision is named dec_ and 28 hexadecimal digits")
                })?;
                let first = audit.first_since(at - DISORDER_MS, newest)?;
                let mark = format!(r#""id":"{id}""#);
                self.scan(first, Some(at + DISORDER_MS), |_, json| {
                    json.contains(&mark)
                })
            }
            Question::Token(jti) => {
                if jti.len() != 32 || !jti.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(Failure::invalid("jti: it has 32 hexadecimal digits"));
                }
                let jti = jti.to_ascii_lowercase();
                let wanted = |found: &str, _: &str| found == jti;
                // What is asked for is most often alive; the whole log is long.
                let recent = self.0.parts.clock.now_ms() - LONGEST_MS;
                let first = audit.first_since(recent, newest)?;
                match self.scan(first, None, wanted) {
                    Err(failure) if failure.kind() == Kind::NotFound => self.scan(1, None, wanted),
                    other => other,
                }
            }
        }
    }

    fn scan(
        &self,
        first: u64,
        until_ms: Option<i64>,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Seen, Failure> {
        for seen in self.0.parts.audit.records_from(first)? {
            let seen = seen?;
            let view = seen.record.view();
            if until_ms.is_some_and(|until| view.at_ms > until) {
                break;
            }
            if view.kind == AuditKind::Decision && wanted(view.jti, view.detail) {
                return Ok(seen);
            }
        }
        Err(Failure::not_found(
            "the decision log holds no such decision",
        ))
    }

    /// Which registered workloads can have a permission, now or under conditions.
    ///
    /// # Errors
    /// No policy set is loaded, or it knows no such permission.
    pub(crate) async fn who_can(&self, permission: &str, audience: &str) -> Result<Reach, Failure> {
        let active = self.loaded()?;
        let candidates = self.candidates();
        let context = self.supposed();
        let (permission, audience) = (permission.to_owned(), audience.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let engine = &active.engine;
            let surveys = engine.who_can(&permission, &audience, &candidates, &context);
            let surveys = surveys.ok_or_else(|| {
                Failure::not_found(format!("{audience} declares no permission {permission}"))
            })?;
            let pairs = candidates.iter().zip(surveys);
            let surveys = pairs.map(|(who, survey)| (who.entry_id.as_str(), survey));
            Ok(reach(surveys, candidates.len(), engine.digest()))
        });
        asked.await.map_err(Failure::internal)?
    }

    /// What a registered workload can have, now or under conditions.
    ///
    /// # Errors
    /// No policy set is loaded, or no entry gives the SPIFFE ID.
    pub(crate) async fn what_can(&self, spiffe_id: &str) -> Result<Reach, Failure> {
        let active = self.loaded()?;
        let id = SpiffeId::parse(spiffe_id)
            .map_err(|error| Failure::invalid(format!("spiffe_id: {error}")))?;
        let candidates = self.candidates_where(|entry| entry.spiffe_id == id);
        if candidates.is_empty() {
            return Err(Failure::not_found(
                "no registration entry gives that SPIFFE ID",
            ));
        }
        let context = self.supposed();
        let asked = tokio::task::spawn_blocking(move || {
            let engine = &active.engine;
            let all = candidates.iter().flat_map(|who| {
                let surveys = engine.what_can(who, &context).into_iter();
                surveys.map(|survey| (who.entry_id.as_str(), survey))
            });
            reach(all, candidates.len(), engine.digest())
        });
        asked.await.map_err(Failure::internal)
    }

    fn loaded(&self) -> Result<Arc<Active>, Failure> {
        self.active().ok_or_else(|| {
            Failure::new(
                Kind::Precondition,
                "no policy set is active, or it cannot be loaded",
            )
        })
    }
}

fn reach<'a>(
    surveys: impl Iterator<Item = (&'a str, Survey)>,
    examined: usize,
    policy_set: Digest,
) -> Reach {
    let mut reach = Reach {
        can: Vec::new(),
        possible: Vec::new(),
        examined,
        policy_set,
    };
    for (entry_id, survey) in surveys {
        let (permission, policies, conditions) = match survey.answer {
            Answer::Granted(granted) => {
                let permission = granted.permission.as_str().to_owned();
                (permission, granted.policies, Vec::new())
            }
            Answer::Refused(_) if survey.possible.is_empty() => continue,
            Answer::Refused(refused) => {
                let forbidding = refused.policies.iter();
                let lifted =
                    forbidding.map(|policy| format!("only while {} does not forbid it", policy.id));
                let ways = survey.possible.iter().map(pdp::Way::text);
                let conditions = ways.chain(lifted).collect();
                let policies = survey.possible.into_iter().map(|way| way.policy);
                (refused.permission, policies.collect(), conditions)
            }
        };
        let list = if conditions.is_empty() {
            &mut reach.can
        } else {
            &mut reach.possible
        };
        list.push(Can {
            spiffe_id: survey.spiffe_id,
            entry_id: entry_id.to_owned(),
            audience: survey.audience.as_str().to_owned(),
            permission,
            policies,
            conditions,
        });
    }
    reach
}

/// When a decision was made, by its id.
fn decided_at(id: &str) -> Option<i64> {
    let digits = id.strip_prefix("dec_")?;
    let plain = digits.len() == 28 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let at = digits.get(..12).filter(|_| plain)?;
    i64::from_str_radix(at, 16).ok()
}
