//! What a server has registered, through SPIRE's API: the same calls for a SPIRE
//! server and for ours.

use tonic::transport::Channel;

use crate::failure::Failure;
use crate::wire::bundle_v1::bundle_client::BundleClient;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::info_v1::GetRequest;
use crate::wire::info_v1::info_client::InfoClient;
use crate::wire::{bundle_v1, entry_v1, types};

/// Records asked for in one call; the server may send fewer.
const PAGE: i32 = 500;

/// A server's registrations.
pub(super) struct State {
    pub(super) trust_domain: String,
    /// Federated bundles.
    pub(super) bundles: Vec<types::Bundle>,
    /// Entries, in the order in which they were created.
    pub(super) entries: Vec<types::Entry>,
    /// The longest lives of X.509-SVIDs and JWT-SVIDs, whatever an entry says, in
    /// seconds; 0 is not known.
    pub(super) longest: (u32, u32),
}

/// The longest lives of what this server issues.
pub(super) async fn longest(channel: Channel) -> Result<(u32, u32), Failure> {
    let info = InfoClient::new(channel).get(GetRequest {}).await?;
    let info = info.into_inner();
    Ok((info.max_x509_svid_ttl, info.max_jwt_svid_ttl))
}

/// Reads everything.
pub(super) async fn state(channel: Channel) -> Result<State, Failure> {
    let mut bundles = BundleClient::new(channel.clone());
    let mask = types::BundleMask::default();
    let request = bundle_v1::GetBundleRequest {
        output_mask: Some(mask),
    };
    let own = bundles.get_bundle(request).await?.into_inner();
    let mut entries = entries(EntryClient::new(channel)).await?;
    entries.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(State {
        trust_domain: own.trust_domain,
        bundles: federated(bundles).await?,
        entries,
        longest: (0, 0),
    })
}

async fn entries(mut client: EntryClient<Channel>) -> Result<Vec<types::Entry>, Failure> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = entry_v1::ListEntriesRequest {
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = client.list_entries(request).await?.into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(entries);
        }
    }
}

async fn federated(mut client: BundleClient<Channel>) -> Result<Vec<types::Bundle>, Failure> {
    let (mut bundles, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = bundle_v1::ListFederatedBundlesRequest {
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = client.list_federated_bundles(request).await?.into_inner();
        bundles.extend(page.bundles);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(bundles);
        }
    }
}
