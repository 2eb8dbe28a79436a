//! A policy set's own tests, in the JSON format of Cedar's `run-tests`: a request,
//! entities, the decision and the policies that decide. What the host would
//! derive may be left out, and is then derived as in production.

use std::collections::{BTreeSet, HashSet};
use std::str::FromStr as _;

use cedar_policy::{Context, Entities, Entity, EntityUid, Request};
use identity::{SpiffeId, Timestamp};
use policy::limits::HIGH_RISK_TTL_MAX;
use policy::{Fault, Permission, Profile, Service, SourceFile, on_large_stack, rfc3339, weekday};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::verdict::Verdict;

/// One test, as read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    #[serde(default)]
    name: String,
    request: Asked,
    #[serde(default)]
    entities: Vec<Value>,
    decision: Expected,
    #[serde(default)]
    reason: BTreeSet<String>,
    #[serde(default)]
    num_errors: Option<usize>,
    #[serde(default)]
    has_error: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    principal: String,
    action: String,
    resource: String,
    #[serde(default)]
    context: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

/// One test that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its name, or its place in the file.
    pub name: String,
    /// The file.
    pub file: String,
    /// What is otherwise than expected; none if it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// All tests of a policy set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReport {
    /// Each test, in order of files.
    pub trials: Vec<Trial>,
    /// Files that are no tests.
    pub faults: Vec<Fault>,
    /// Policies that decided no test: untested.
    pub untested: Vec<String>,
}

impl TrialReport {
    /// Whether every test passed and every file was one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty() && self.trials.iter().all(|trial| trial.failure.is_none())
    }
}

impl Engine {
    /// Runs the policy set's own tests.
    #[must_use]
    pub fn run_tests(&self) -> TrialReport {
        on_large_stack(|| self.run_all_tests()).unwrap_or_else(|error| {
            let what = format!("the tests cannot be run now: {error}");
            TrialReport {
                faults: vec![Fault::error("tests", None, what)],
                ..TrialReport::default()
            }
        })
    }

    fn run_all_tests(&self) -> TrialReport {
        let mut report = TrialReport::default();
        let mut decided = BTreeSet::new();
        for file in &self.0.tests {
            match serde_json::from_str::<Vec<Test>>(&file.text) {
                Ok(tests) => {
                    for (at, test) in tests.iter().enumerate() {
                        let trial = self.trial(file, at, test, &mut decided);
                        report.trials.push(trial);
                    }
                }
                Err(error) => {
                    let line = u64::try_from(error.line()).ok();
                    let fault = Fault::error(
                        &file.name,
                        line,
                        format!("this is no list of tests: {error}"),
                    );
                    report
                        .faults
                        .push(fault.next("each has request, entities, decision and reason"));
                }
            }
        }
        let all = self
            .rules()
            .filter(|rule| rule.layer() != crate::Layer::Builtin);
        let untested = all.filter(|rule| !decided.contains(rule.id()));
        report.untested = untested.map(|rule| rule.id().to_owned()).collect();
        report
    }

    fn trial(
        &self,
        file: &SourceFile,
        at: usize,
        test: &Test,
        decided: &mut BTreeSet<String>,
    ) -> Trial {
        let name = if test.name.is_empty() {
            format!("test {}", at + 1)
        } else {
            test.name.clone()
        };
        let failure = match self.run(test) {
            Ok(verdict) => {
                decided.extend(verdict.permits.iter().chain(&verdict.forbids).cloned());
                mismatch(test, &verdict)
            }
            Err(why) => Some(format!("the request is not valid: {why}")),
        };
        Trial {
            name,
            file: file.name.clone(),
            failure,
        }
    }

    fn run(&self, test: &Test) -> Result<Verdict, String> {
        let uid = |text: &str| EntityUid::from_str(text).map_err(|e| format!("{text}: {e}"));
        let principal = uid(&test.request.principal)?;
        let action = uid(&test.request.action)?;
        let resource = uid(&test.request.resource)?;
        let found = self.catalogue().permission(action.id().unescaped());
        let (service, permission) =
            found.ok_or_else(|| format!("the catalogue has no {action}"))?;
        let entities = self.entities(test, &principal)?;
        let context = circumstances(&test.request.context, service, permission)?;
        let context =
            Context::from_json_value(Value::Object(context), Some((&self.0.schema, &action)))
                .map_err(|e| told(&e))?;
        let request = Request::new(
            principal.clone(),
            action,
            resource,
            context,
            Some(&self.0.schema),
        )
        .map_err(|e| told(&e))?;
        let names = names(&entities, &principal);
        let buckets = self.0.slices.for_request(&permission.name, &names);
        Ok(Verdict::of(
            &self.0.authorizer,
            &request,
            &entities,
            buckets,
        ))
    }

    /// The entities given, with what the host would know: services and actions
    /// from the catalogue, a workload's groups from its SPIFFE ID.
    fn entities(&self, test: &Test, principal: &EntityUid) -> Result<Entities, String> {
        let mut given = test.entities.clone();
        let is = |value: &Value, uid: &EntityUid| {
            let of = value
                .get("uid")
                .map(|uid| uid.get("__entity").unwrap_or(uid));
            let part = |name| of.and_then(|uid| uid.get(name)).and_then(Value::as_str);
            part("type") == Some(&uid.type_name().to_string())
                && part("id") == Some(uid.id().unescaped())
        };
        let now = moment(&test.request.context)?;
        if !given.iter().any(|value| is(value, principal)) {
            given.push(json!({"uid": {"type": "Workload", "id": principal.id().unescaped()}, "attrs": {}, "parents": []}));
        }
        for value in given.iter_mut().filter(|value| is(value, principal)) {
            self.complete(value, principal, now)?;
        }
        // Actions come from the schema; services from the catalogue unless given.
        given.retain(|value| value.pointer("/uid/type").and_then(Value::as_str) != Some("Action"));
        let entities = Entities::from_json_value(Value::Array(given), Some(&self.0.schema))
            .map_err(|e| told(&e))?;
        let resource = EntityUid::from_str(&test.request.resource).map_err(|e| e.to_string())?;
        let missing = self.0.offered.audience(resource.id().unescaped());
        let missing: Vec<Entity> = missing
            .filter(|_| entities.get(&resource).is_none())
            .cloned()
            .into_iter()
            .collect();
        entities.add_entities(missing, None).map_err(|e| told(&e))
    }

    fn complete(
        &self,
        workload: &mut Value,
        principal: &EntityUid,
        now: Timestamp,
    ) -> Result<(), String> {
        let id = SpiffeId::parse(principal.id().unescaped()).map_err(|e| e.to_string())?;
        let at = policy::rfc3339_text(now);
        let known = json!({
            "id": id.as_str(), "entry": "test", "selectors": [], "attestedAt": at,
            "node": {"id": format!("spiffe://{}/spire/agent/test", id.trust_domain_str()), "attestor": "test", "selectors": [], "attestedAt": at},
        });
        fill(workload, "attrs", &known);
        let parents: Vec<Value> = self
            .0
            .types
            .names(&id)
            .iter()
            .skip(1)
            .map(|uid| json!({"type": uid.type_name().to_string(), "id": uid.id().unescaped()}))
            .collect();
        if let Some(own) = workload.get_mut("parents").and_then(Value::as_array_mut) {
            own.extend(parents);
        } else if let Some(object) = workload.as_object_mut() {
            object.insert("parents".into(), Value::Array(parents));
        }
        Ok(())
    }
}

/// Adds what is missing of `known` to the object at `member`, one level deep.
fn fill(value: &mut Value, member: &str, known: &Value) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    let target = object.entry(member).or_insert_with(|| json!({}));
    for (name, known) in known.as_object().into_iter().flatten() {
        match target.get(name) {
            Some(Value::Object(_)) if known.is_object() => fill(target, name, known),
            Some(_) => {}
            None => {
                if let Some(target) = target.as_object_mut() {
                    target.insert(name.clone(), known.clone());
                }
            }
        }
    }
}

/// The time of the request, which every test must say.
fn moment(context: &Map<String, Value>) -> Result<Timestamp, String> {
    let now = context.get("now");
    let text = now
        .map(|now| now.pointer("/__extn/arg").unwrap_or(now))
        .and_then(Value::as_str);
    let text = text.ok_or("context.now is missing; write it such as \"2026-11-24T09:30:00Z\"")?;
    rfc3339::parse(text)
        .ok_or_else(|| format!("context.now {text:?} is no time such as 2026-11-24T09:30:00Z"))
}

fn circumstances(
    given: &Map<String, Value>,
    service: &Service,
    permission: &Permission,
) -> Result<Map<String, Value>, String> {
    let now = moment(given)?;
    let profile = service
        .profiles
        .first()
        .copied()
        .unwrap_or(Profile::AccessToken);
    let profile = given
        .get("profile")
        .and_then(Value::as_str)
        .unwrap_or(profile.as_str())
        .to_owned();
    let mut ttl = service.default_ttl.0;
    if permission.needs_short_life() {
        ttl = ttl.min(HIGH_RISK_TTL_MAX);
    }
    let derived = json!({
        "weekday": weekday(now),
        "pop": profile == Profile::AccessToken.as_str(),
        "profile": profile,
        "ttl": ttl,
        "mints5m": 0,
        "risk": permission.risk.as_str(),
        "needsPossession": permission.needs_possession(),
        "needsShortLife": permission.needs_short_life(),
        "deprecated": permission.is_deprecated(now),
        "pastSunset": permission.is_past_sunset(now),
        "detailTypes": [],
    });
    let mut value = Value::Object(Map::from_iter([(
        "context".to_owned(),
        Value::Object(given.clone()),
    )]));
    fill(&mut value, "context", &derived);
    match value.get_mut("context").map(Value::take) {
        Some(Value::Object(context)) => Ok(context),
        _ => Err("the context is no object".into()),
    }
}

/// What the principal is, with all its ancestors.
fn names(entities: &Entities, principal: &EntityUid) -> Vec<EntityUid> {
    let above = entities.ancestors(principal).into_iter().flatten().cloned();
    let names: HashSet<EntityUid> = above.chain([principal.clone()]).collect();
    names.into_iter().collect()
}

fn mismatch(test: &Test, verdict: &Verdict) -> Option<String> {
    let decision = if verdict.allows() {
        Expected::Allow
    } else {
        Expected::Deny
    };
    let deciding = if decision == Expected::Allow {
        &verdict.permits
    } else {
        &verdict.forbids
    };
    let deciding: BTreeSet<String> = deciding.iter().cloned().collect();
    let list = |ids: &BTreeSet<String>| match ids.len() {
        0 => "no policy".to_owned(),
        _ => ids.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let said = |decision, ids: &BTreeSet<String>| match decision {
        Expected::Allow => format!("allow by {}", list(ids)),
        Expected::Deny => format!("deny by {}", list(ids)),
    };
    if decision != test.decision || deciding != test.reason {
        let errors: Vec<String> = verdict
            .errors
            .iter()
            .map(|(id, why)| format!("; {id} failed: {why}"))
            .collect();
        return Some(format!(
            "expected {}, got {}{}",
            said(test.decision, &test.reason),
            said(decision, &deciding),
            errors.concat()
        ));
    }
    let errors = verdict.errors.len();
    let expected = match (test.num_errors, test.has_error) {
        (Some(number), _) => number,
        (None, Some(true)) => errors.max(1),
        (None, _) => 0,
    };
    (errors != expected).then(|| format!("expected {expected} evaluation errors, got {errors}"))
}

/// An error with its cause, which Cedar keeps apart.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
