//! `bulla node …` and `bulla token …`: attested nodes, and how new ones join.

pub(crate) mod known;

use serde_json::{Value, json};

use crate::admin::{connect, id_text, wire_id};
use crate::command::{AdminSocket, NodeCommand, TokenCommand, TokenCreate};
use crate::failure::{Exit, Failure};
use crate::output::{Output, utc};
use crate::wire::agent_v1::agent_client::AgentClient;
use crate::wire::info_v1::info_client::InfoClient;
use crate::wire::{agent_v1, info_v1, types};
use known::Known;

const COLUMNS: &[(&str, &str)] = &[
    ("ALIAS", "alias"),
    ("HOST", "host"),
    ("ADDRESS", "address"),
    ("CONTACT", "contact"),
    ("SVID LEFT", "left"),
    ("ATTESTOR", "attestor"),
    ("AGENT", "agent"),
    ("SELECTORS", "selectors"),
];

/// Runs one `bulla node` command.
///
/// # Errors
/// The server is away, refuses, or knows no such node.
pub(crate) async fn run(command: NodeCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        NodeCommand::List { banned, admin } => list(banned, &admin, out).await,
        NodeCommand::Show { id, admin } => {
            let channel = connect(&admin).await?;
            let id = known::meant(channel.clone(), &id).await?;
            let (nodes, _) = known::all(channel, false).await?;
            let node = nodes.iter().find(|node| node.id() == id);
            let node = node.ok_or_else(|| unknown(&id))?;
            Ok(out.object(&node.value())?)
        }
        NodeCommand::Ban { id, admin } => {
            let channel = connect(&admin).await?;
            let id = known::meant(channel.clone(), &id).await?;
            let request = agent_v1::BanAgentRequest {
                id: Some(wire_id(&id)?),
            };
            let answer = AgentClient::new(channel).ban_agent(request).await;
            answer.map_err(|status| no_node(&id, status))?;
            done(out, "banned", &id)
        }
        NodeCommand::Evict { id, admin } => {
            let channel = connect(&admin).await?;
            let id = known::meant(channel.clone(), &id).await?;
            let request = agent_v1::DeleteAgentRequest {
                id: Some(wire_id(&id)?),
            };
            let answer = AgentClient::new(channel).delete_agent(request).await;
            answer.map_err(|status| no_node(&id, status))?;
            done(out, "evicted", &id)
        }
    }
}

fn unknown(id: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("no node {id}"))
        .next("list what there is with `bulla node list`")
}

fn no_node(id: &str, status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::NotFound => unknown(id),
        _ => status.into(),
    }
}

fn done(out: &mut Output, what: &str, id: &str) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.document(&json!({ what: id }))?);
    }
    Ok(out.line(format!("{what} {id}"))?)
}

async fn list(banned: bool, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let (nodes, now) = known::all(connect(admin).await?, banned).await?;
    if out.is_json() {
        let all = nodes.iter().map(Known::value).collect();
        return Ok(out.document(&Value::Array(all))?);
    }
    let rows = known::rows(&nodes, now);
    let none = "no nodes; `bulla token create` says how one joins";
    Ok(out.rows(&rows, COLUMNS, none)?)
}

/// Runs one `bulla token` command.
///
/// # Errors
/// The server is away or refuses.
pub(crate) async fn token(command: TokenCommand, out: &mut Output) -> Result<(), Failure> {
    let TokenCommand::Create(args) = command;
    let join = create_token(&args).await?;
    if out.is_json() {
        return Ok(out.document(&join.value())?);
    }
    out.line(format!(
        "# valid until {}, for one agent; run this on the node:",
        join.expires_at
    ))?;
    Ok(out.line(join.command())?)
}

/// All that a new agent needs to join.
pub(crate) struct Join {
    token: String,
    expires_at: String,
    /// The agent's readable alias, when one was asked for.
    alias: Option<String>,
    info: info_v1::GetResponse,
}

/// Creates a join token and gathers what goes with it.
///
/// # Errors
/// The server is away or refuses.
pub(crate) async fn create_token(args: &TokenCreate) -> Result<Join, Failure> {
    let channel = connect(&args.admin).await?;
    let info = InfoClient::new(channel.clone())
        .get(info_v1::GetRequest {})
        .await?
        .into_inner();
    let agent_id = args.spiffe_id.as_deref().map(wire_id).transpose()?;
    let alias = agent_id.as_ref().map(|id| id_text(Some(id)));
    let request = agent_v1::CreateJoinTokenRequest {
        ttl: args.ttl,
        token: String::new(),
        agent_id,
    };
    let types::JoinToken { value, expires_at } = AgentClient::new(channel)
        .create_join_token(request)
        .await?
        .into_inner();
    Ok(Join {
        token: value,
        expires_at: utc(expires_at),
        alias,
        info,
    })
}

impl Join {
    /// The token itself: a secret.
    #[must_use]
    pub(crate) fn secret(&self) -> &str {
        &self.token
    }

    /// What the server says of itself.
    #[must_use]
    pub(crate) const fn info(&self) -> &info_v1::GetResponse {
        &self.info
    }

    fn pin(&self) -> &str {
        self.info.bundle_sha256.first().map_or("", String::as_str)
    }

    /// The complete command. The token goes through the environment: argument
    /// lists can be read by every user of a machine.
    fn command(&self) -> String {
        format!(
            "BULLA_JOIN_TOKEN={} bulla agent --server {} --trust-domain {} --bundle-sha256 {}",
            self.token,
            self.info.address,
            self.info.trust_domain,
            self.pin()
        )
    }

    fn value(&self) -> Value {
        json!({
            "token": self.token,
            "expires_at": self.expires_at,
            "alias": self.alias,
            "server": self.info.address,
            "trust_domain": self.info.trust_domain,
            "bundle_sha256": self.pin(),
            "command": self.command(),
        })
    }
}
