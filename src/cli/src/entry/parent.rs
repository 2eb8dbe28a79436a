//! A parent that does not exist: nobody will receive the entry, until somebody makes it.

use tonic::Code;
use tonic::transport::Channel;

use super::known_selectors::nearest;
use crate::admin::id_text;
use crate::failure::Failure;
use crate::node::known;
use crate::wire::agent_v1::agent_client::AgentClient;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::{agent_v1, entry_v1, types};

/// A warning when no agent, alias or entry has this ID, with the nearest that exists.
///
/// # Errors
/// The server is away or refuses.
pub(super) async fn doubt(
    channel: Channel,
    parent: &types::Spiffeid,
) -> Result<Option<String>, Failure> {
    if parent.path == "/spire/server" || exists(channel.clone(), parent).await? {
        return Ok(None);
    }
    let name = id_text(Some(parent));
    let (nodes, _) = known::all(channel, false).await?;
    let ids: Vec<String> = nodes
        .iter()
        .flat_map(|node| std::iter::once(node.id()).chain(node.aliases().iter().cloned()))
        .collect();
    let meant = nearest(&name, ids.iter().map(String::as_str));
    let meant = meant.map_or_else(
        || "see `bulla node list`".to_owned(),
        |meant| format!("did you mean {meant}?"),
    );
    Ok(Some(format!(
        "no agent, alias or entry has the ID {name}, so nobody will receive this entry yet; {meant}"
    )))
}

async fn exists(channel: Channel, parent: &types::Spiffeid) -> Result<bool, Failure> {
    if parent.path.starts_with("/spire/agent/") {
        let request = agent_v1::GetAgentRequest {
            id: Some(parent.clone()),
            output_mask: None,
        };
        return match AgentClient::new(channel).get_agent(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        };
    }
    let request = entry_v1::ListEntriesRequest {
        filter: Some(entry_v1::list_entries_request::Filter {
            by_spiffe_id: Some(parent.clone()),
            ..Default::default()
        }),
        output_mask: None,
        page_size: 1,
        page_token: String::new(),
    };
    let answer = EntryClient::new(channel).list_entries(request).await?;
    Ok(!answer.into_inner().entries.is_empty())
}
