//! From an entry up to the nodes that can yield it: through parents that are
//! agents, groups of nodes, or other entries.

use std::collections::{BTreeMap, BTreeSet};

use tonic::transport::Channel;

use crate::admin::id_text;
use crate::failure::Failure;
use crate::wire::agent_v1::agent_client::AgentClient;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::{agent_v1, entry_v1, types};

/// Items asked for in one call; the server may send fewer.
const PAGE: i32 = 500;
/// Parents looked at for one SPIFFE ID; a longer lineage is cut, and says so.
const PARENTS_MAX: usize = 1000;

/// A node that an entry leads to.
pub(super) struct Reached {
    /// The node.
    pub(super) agent: types::Agent,
    /// The parents between the entry and the node, nearest the entry first.
    pub(super) via: Vec<String>,
}

/// Where an entry's parents lead.
#[derive(Default)]
pub(super) struct Lineage {
    /// Nodes, by agent ID.
    pub(super) nodes: BTreeMap<String, Reached>,
    /// Parents that lead nowhere: no agent, group or entry has that ID.
    pub(super) dead_ends: Vec<String>,
    /// Whether there were too many parents to look at.
    pub(super) is_cut: bool,
}

/// Asks the server about entries and nodes.
pub(super) struct Genealogist {
    pub(super) entries: EntryClient<Channel>,
    pub(super) agents: AgentClient<Channel>,
}

impl Genealogist {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            entries: EntryClient::new(channel.clone()),
            agents: AgentClient::new(channel),
        }
    }

    /// The entries that give a SPIFFE ID.
    ///
    /// # Errors
    /// The server is away or refuses.
    pub(super) async fn giving(
        &mut self,
        id: &types::Spiffeid,
    ) -> Result<Vec<types::Entry>, Failure> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = entry_v1::ListEntriesRequest {
                filter: Some(entry_v1::list_entries_request::Filter {
                    by_spiffe_id: Some(id.clone()),
                    ..Default::default()
                }),
                output_mask: None,
                page_size: PAGE,
                page_token,
            };
            let answer = self.entries.list_entries(request).await?.into_inner();
            found.extend(answer.entries);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The nodes that an entry leads to.
    ///
    /// # Errors
    /// The server is away or refuses.
    pub(super) async fn climb(&mut self, entry: &types::Entry) -> Result<Lineage, Failure> {
        let mut lineage = Lineage::default();
        let mut seen = BTreeSet::new();
        let mut parents: Vec<(types::Spiffeid, Vec<String>)> = Vec::new();
        parents.extend(entry.parent_id.clone().map(|parent| (parent, Vec::new())));
        while let Some((parent, via)) = parents.pop() {
            let name = id_text(Some(&parent));
            if !seen.insert(name.clone()) {
                continue;
            }
            if seen.len() > PARENTS_MAX {
                lineage.is_cut = true;
                break;
            }
            if parent.path.starts_with("/spire/agent/") {
                match self.agent(&parent).await? {
                    Some(agent) => lineage.reach(agent, &via),
                    None => lineage.dead_ends.push(name),
                }
                continue;
            }
            let above = self.giving(&parent).await?;
            if above.is_empty() {
                lineage.dead_ends.push(name.clone());
            }
            let mut via = via;
            via.push(name);
            for entry in above {
                let Some(above) = entry.parent_id.clone() else {
                    continue;
                };
                if above.path == "/spire/server" {
                    for agent in self.with_selectors(&entry.selectors).await? {
                        lineage.reach(agent, &via);
                    }
                } else {
                    parents.push((above, via.clone()));
                }
            }
        }
        Ok(lineage)
    }

    async fn agent(&mut self, id: &types::Spiffeid) -> Result<Option<types::Agent>, Failure> {
        let request = agent_v1::GetAgentRequest {
            id: Some(id.clone()),
            output_mask: None,
        };
        match self.agents.get_agent(request).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// The nodes that have all of these selectors.
    async fn with_selectors(
        &mut self,
        selectors: &[types::Selector],
    ) -> Result<Vec<types::Agent>, Failure> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = agent_v1::ListAgentsRequest {
                filter: Some(agent_v1::list_agents_request::Filter {
                    by_selector_match: Some(types::SelectorMatch {
                        selectors: selectors.to_vec(),
                        r#match: types::selector_match::MatchBehavior::MatchSuperset.into(),
                    }),
                    ..Default::default()
                }),
                output_mask: None,
                page_size: PAGE,
                page_token,
            };
            let answer = self.agents.list_agents(request).await?.into_inner();
            found.extend(answer.agents);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }
}

impl Lineage {
    fn reach(&mut self, agent: types::Agent, via: &[String]) {
        let name = id_text(agent.id.as_ref());
        let via = via.to_vec();
        let reached = Reached { agent, via };
        self.nodes.entry(name).or_insert(reached);
    }
}
