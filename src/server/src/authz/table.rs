//! Who may call what at which cost: every RPC of every service, with the roles that may
//! call it and the class of what a call may cost. What has no row may be called by nobody. A row without its RPC, or an RPC
//! without its row, fails a test and stops the server from starting; a table out
//! of order fails the build.

use super::{Cost, Roles};

/// Who may call an RPC, and what one call may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// The roles of which a caller needs one.
    pub(crate) roles: Roles,
    /// The bounds of one call.
    pub(crate) cost: Cost,
}

impl Access {
    const fn new(roles: Roles, cost: Cost) -> Self {
        Self { roles, cost }
    }

    const fn at(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }
}

const ANYONE: Access = Access::new(Roles::ANYONE, Cost::PUBLIC);
const LOCAL: Access = Access::new(Roles::LOCAL, Cost::SMALL);
const AGENTS: Access = Access::new(Roles::AGENT, Cost::SMALL);
const ADMINS: Access = Access::new(Roles::ADMIN.or(Roles::LOCAL), Cost::ADMINISTER);
const ADMINS_AND_AGENTS: Access =
    Access::new(Roles::ADMIN.or(Roles::LOCAL).or(Roles::AGENT), Cost::SMALL);
const DOWNSTREAM: Access = Access::new(Roles::DOWNSTREAM, Cost::SMALL);

/// Method path, and who may call it at which cost, in order of the path.
pub(crate) const TABLE: &[(&str, Access)] = &[
    ("/bulla.audit.v1.Audit/Head", ADMINS),
    ("/bulla.audit.v1.Audit/List", ADMINS),
    ("/bulla.audit.v1.Audit/Verify", ADMINS),
    ("/bulla.entries.v1.Entries/Apply", ADMINS.at(Cost::UPLOAD)),
    ("/bulla.entries.v1.Limits/List", ADMINS),
    ("/bulla.entries.v1.Limits/Set", ADMINS),
    ("/bulla.fleet.v1.Fleet/Watch", ADMINS),
    (
        "/bulla.issuance.v1.Issuance/IssueX509",
        AGENTS.at(Cost::ISSUE),
    ),
    ("/bulla.keys.v1.Keys/Activate", ADMINS),
    ("/bulla.keys.v1.Keys/Prepare", ADMINS),
    ("/bulla.keys.v1.Keys/Revoke", ADMINS),
    ("/bulla.keys.v1.Keys/Status", ADMINS),
    ("/bulla.keys.v1.Keys/Taint", ADMINS),
    ("/bulla.limits.v1.Limits/Show", ADMINS),
    ("/bulla.policy.v1.Policy/Activate", ADMINS.at(Cost::UPLOAD)),
    ("/bulla.policy.v1.Policy/ApproveBreakGlass", ADMINS),
    ("/bulla.policy.v1.Policy/EndBreakGlass", ADMINS),
    ("/bulla.policy.v1.Policy/History", ADMINS),
    ("/bulla.policy.v1.Policy/ListBreakGlass", ADMINS),
    ("/bulla.policy.v1.Policy/OpenBreakGlass", ADMINS),
    ("/bulla.policy.v1.Policy/Plan", ADMINS.at(Cost::UPLOAD)),
    ("/bulla.policy.v1.Policy/Rollback", ADMINS),
    ("/bulla.policy.v1.Policy/Show", ADMINS),
    ("/bulla.revocation.v1.Revocations/Lift", ADMINS),
    ("/bulla.revocation.v1.Revocations/List", ADMINS),
    ("/bulla.revocation.v1.Revocations/Revoke", ADMINS),
    ("/bulla.revocation.v1.Revocations/Signed", ANYONE),
    ("/bulla.server.v1.Info/Get", ADMINS),
    ("/bulla.sync.v1.Sync/Follow", AGENTS.at(Cost::FOLLOW)),
    ("/bulla.token.v1.Explain/Decision", ADMINS),
    ("/bulla.token.v1.Explain/Token", ADMINS),
    ("/bulla.token.v1.Explain/WhatCan", ADMINS),
    ("/bulla.token.v1.Explain/WhoCan", ADMINS),
    ("/bulla.token.v1.Tokens/Mint", AGENTS),
    ("/grpc.health.v1.Health/Check", LOCAL),
    ("/grpc.health.v1.Health/List", LOCAL),
    ("/grpc.health.v1.Health/Watch", LOCAL),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        LOCAL.at(Cost::TOOLS),
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        LOCAL.at(Cost::TOOLS),
    ),
    (
        "/spire.api.server.agent.v1.Agent/AttestAgent",
        ANYONE.at(Cost::ATTEST),
    ),
    ("/spire.api.server.agent.v1.Agent/BanAgent", ADMINS),
    ("/spire.api.server.agent.v1.Agent/CountAgents", ADMINS),
    ("/spire.api.server.agent.v1.Agent/CreateJoinToken", ADMINS),
    ("/spire.api.server.agent.v1.Agent/DeleteAgent", ADMINS),
    ("/spire.api.server.agent.v1.Agent/GetAgent", ADMINS),
    ("/spire.api.server.agent.v1.Agent/ListAgents", ADMINS),
    ("/spire.api.server.agent.v1.Agent/PostStatus", AGENTS),
    ("/spire.api.server.agent.v1.Agent/RenewAgent", AGENTS),
    ("/spire.api.server.bundle.v1.Bundle/AppendBundle", ADMINS),
    (
        "/spire.api.server.bundle.v1.Bundle/BatchCreateFederatedBundle",
        ADMINS,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/BatchDeleteFederatedBundle",
        ADMINS,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/BatchSetFederatedBundle",
        ADMINS,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/BatchUpdateFederatedBundle",
        ADMINS,
    ),
    ("/spire.api.server.bundle.v1.Bundle/CountBundles", ADMINS),
    ("/spire.api.server.bundle.v1.Bundle/GetBundle", ANYONE),
    (
        "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle",
        ADMINS_AND_AGENTS,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/ListFederatedBundles",
        ADMINS,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority",
        DOWNSTREAM,
    ),
    (
        "/spire.api.server.bundle.v1.Bundle/PublishWITAuthority",
        DOWNSTREAM,
    ),
    ("/spire.api.server.debug.v1.Debug/GetInfo", LOCAL),
    ("/spire.api.server.entry.v1.Entry/BatchCreateEntry", ADMINS),
    ("/spire.api.server.entry.v1.Entry/BatchDeleteEntry", ADMINS),
    ("/spire.api.server.entry.v1.Entry/BatchUpdateEntry", ADMINS),
    ("/spire.api.server.entry.v1.Entry/CountEntries", ADMINS),
    (
        "/spire.api.server.entry.v1.Entry/GetAuthorizedEntries",
        AGENTS,
    ),
    ("/spire.api.server.entry.v1.Entry/GetEntry", ADMINS),
    ("/spire.api.server.entry.v1.Entry/ListEntries", ADMINS),
    (
        "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries",
        AGENTS.at(Cost::FOLLOW),
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/ActivateJWTAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/ActivateWITAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/ActivateX509Authority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/GetWITAuthorityState",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/GetX509AuthorityState",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/PrepareJWTAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/PrepareWITAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/PrepareX509Authority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeJWTAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeWITAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintJWTAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintWITAuthority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509Authority",
        ADMINS,
    ),
    (
        "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority",
        ADMINS,
    ),
    ("/spire.api.server.logger.v1.Logger/GetLogger", LOCAL),
    ("/spire.api.server.logger.v1.Logger/ResetLogLevel", LOCAL),
    ("/spire.api.server.logger.v1.Logger/SetLogLevel", LOCAL),
    (
        "/spire.api.server.svid.v1.SVID/BatchNewWITSVID",
        AGENTS.at(Cost::ISSUE),
    ),
    (
        "/spire.api.server.svid.v1.SVID/BatchNewX509SVID",
        AGENTS.at(Cost::ISSUE),
    ),
    ("/spire.api.server.svid.v1.SVID/MintJWTSVID", ADMINS),
    ("/spire.api.server.svid.v1.SVID/MintWITSVID", ADMINS),
    ("/spire.api.server.svid.v1.SVID/MintX509SVID", ADMINS),
    (
        "/spire.api.server.svid.v1.SVID/NewDownstreamX509CA",
        DOWNSTREAM,
    ),
    ("/spire.api.server.svid.v1.SVID/NewJWTSVID", AGENTS),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/BatchCreateFederationRelationship",
        ADMINS,
    ),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship",
        ADMINS,
    ),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship",
        ADMINS,
    ),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/GetFederationRelationship",
        ADMINS,
    ),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/ListFederationRelationships",
        ADMINS,
    ),
    (
        "/spire.api.server.trustdomain.v1.TrustDomain/RefreshBundle",
        ADMINS,
    ),
];

const _: () = assert!(
    is_sorted(TABLE),
    "authz table must be in order, without repeats"
);

/// The row of a method.
pub(crate) fn row(path: &str) -> Option<Access> {
    let at = TABLE.binary_search_by(|(method, _)| (*method).cmp(path));
    TABLE.get(at.ok()?).map(|(_, access)| *access)
}

const fn is_sorted(table: &[(&str, Access)]) -> bool {
    let mut rest = table;
    while let [first, tail @ ..] = rest {
        if let [second, ..] = tail
            && !is_before(first.0.as_bytes(), second.0.as_bytes())
        {
            return false;
        }
        rest = tail;
    }
    true
}

/// Whether `a` sorts before `b`: string comparison that works in a constant.
const fn is_before(a: &[u8], b: &[u8]) -> bool {
    match (a, b) {
        ([], [_, ..]) => true,
        ([x, a @ ..], [y, b @ ..]) => *x < *y || (*x == *y && is_before(a, b)),
        (_, []) => false,
    }
}
