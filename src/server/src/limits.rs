//! Every bound of the server that configuration does not set, in one place: what a
//! caller can make us hold, queue or compute. A number that is not here or in
//! the configuration is a bug.

use std::time::Duration;

use identity::Seconds;

/// So much at once, and so much more each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// At once.
    pub burst: u64,
    /// More each second, up to `burst` again.
    pub each_second: u64,
}

impl Allowance {
    /// So much at once, and so much more each second.
    #[must_use]
    pub const fn new(burst: u64, each_second: u64) -> Self {
        Self { burst, each_second }
    }
}

/// The most items in one batch call (entries, CSRs); SPIRE's agents send at most this many.
pub const MAX_BATCH: usize = 500;
/// The most changes of entries that are applied in one commit.
pub const MAX_APPLY: usize = 10_000;
/// Of the changes that cannot be applied, so many are told.
pub const MAX_APPLY_FAULTS: usize = 8;
/// Conditions and writes of one commit: for each change two of its entry and two of the
/// entry's limits, and room for others.
pub const MAX_COMMIT_OPERATIONS: usize = 4 * MAX_APPLY + 48;
/// Bytes of keys and values of one commit: about 1,600 for each change.
pub const MAX_COMMIT_BYTES: usize = 16 << 20;
/// The most entries in one page of a list.
pub const MAX_PAGE: usize = 5_000;
/// The largest request message of any RPC, in bytes; most have a smaller bound, by the
/// class of cost that their row in the table of RPCs names.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;
/// The largest configuration file, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// The largest file a passphrase, PIN or other secret is read from, in bytes.
pub const MAX_SECRET_BYTES: usize = 4_096;
/// Threads that wait for a signing key kept elsewhere, at one time.
pub const FAR_SIGNATURES: usize = 64;
/// Of those, for one batch.
pub const FAR_SIGNATURES_OF_A_BATCH: usize = 16;
/// Threads that wait for a signature of a list of what is revoked: so many for the
/// JWS, and as many for the lists of X.509 authorities.
pub const FAR_LISTS: usize = 4;
/// By so many milliseconds a remote signer gives up before whoever waits for it does.
pub const SIGNER_LEAD_MS: u64 = 250;
/// How long making, finding or removing a signing key may take: RSA takes its time.
pub const KEY_STORAGE_PATIENCE: Duration = Duration::from_secs(60);
/// The most unused join tokens at one time.
pub const MAX_JOIN_TOKENS: usize = 100_000;
/// Of those, made by one administrator.
pub const MAX_JOIN_TOKENS_EACH: usize = 50_000;
/// Of all attested nodes, those of one attestor: an authority of nodes' certificates
/// that was stolen does not keep nodes with join tokens out.
pub const MAX_NODES_OF_AN_ATTESTOR: usize = 150_000;
/// The most attested nodes.
pub const MAX_NODES: usize = 200_000;
/// The most registration entries.
pub const MAX_ENTRIES: usize = 1_000_000;
/// The most federated bundles.
pub const MAX_FEDERATED_BUNDLES: usize = 1_000;
/// The most authorities (of each kind) in one bundle.
pub const MAX_BUNDLE_AUTHORITIES: usize = 256;
/// The largest bundle record, in bytes: what the store takes as one value.
pub const MAX_BUNDLE_BYTES: usize = 30 << 10;
/// The longest agent version string kept, in bytes.
pub const MAX_AGENT_VERSION_BYTES: usize = 64;
/// The longest name of its machine that is kept of an agent, in bytes.
pub const MAX_HOST_NAME_BYTES: usize = 64;
/// The most other names, and the most selectors, that are shown of one agent.
pub const MAX_SHOWN_OF_AGENT: usize = 8;
/// The most group entries that are looked at for the names of agents.
pub const MAX_GROUPS_LOOKED_AT: usize = 64;
/// The longest reason kept in a decision record, in bytes.
pub const MAX_REASON_BYTES: usize = 512;
/// The oldest view that may still authorise anything; older fails as unavailable.
pub const MAX_VIEW_AGE: Duration = Duration::from_secs(5);
/// How often the follower proves that it is at the head of the change log.
pub const VIEW_PROBE: Duration = Duration::from_secs(1);
/// How often a decision is taken again when another writer changed its rows first.
pub const DECIDE_TRIES: u32 = 16;
/// The longest pause before the first of these, in milliseconds; it doubles each time,
pub const DECIDE_PAUSE_MS: u64 = 2;
/// so many times.
pub const DECIDE_DOUBLINGS: u32 = 6;
/// Locks that decisions on rows take turns by; rows share them.
pub const ROW_LOCKS: usize = 256;
/// How often a ban is tried again whose outcome is not known.
pub const BAN_TRIES: u32 = 5;
/// How long a writer waits for its own change to come back through the log.
pub const APPLY_WAIT: Duration = Duration::from_secs(5);
/// How often the outcome of a commit is asked for before it stays unknown.
pub const RESOLVE_TRIES: u32 = 5;
/// Between two such questions.
pub const RESOLVE_PAUSE: Duration = Duration::from_millis(100);
/// Those who read the decision log at one time.
pub const MAX_AUDIT_READERS: usize = 16;
/// Records on their way to one reader of the decision log.
pub const AUDIT_CHANNEL: usize = 64;
/// The most records in one answer of newest ones.
pub const MAX_AUDIT_NEWEST: usize = 10_000;
/// Those who watch the fleet at one time, on each listener.
pub const MAX_FLEET_WATCHERS: usize = 16;
/// The most agents in one message about the fleet.
pub const FLEET_PAGE: usize = 500;
/// The shortest time between two looks at the fleet, in milliseconds.
pub const MIN_FLEET_INTERVAL_MS: u32 = 200;
/// How long a node may ask again for an answer it never saw.
pub const ANSWER_AGAIN: Duration = Duration::from_secs(300);
/// The most attestations that are remembered for that.
pub const MAX_ANSWERED: usize = 10_000;
/// How long an attestation may take, challenges included.
pub const ATTEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a caller queues for an attestation slot before it is told to come back.
pub const ATTEST_QUEUE_WAIT: Duration = Duration::from_secs(10);
/// The most attestations that wait for a slot; more are sent away at once.
pub const MAX_ATTEST_QUEUE: usize = 4_096;
/// The most challenges of attestations that wait for their answer: each keeps up to
/// 17 KiB of evidence.
pub const MAX_CHALLENGES: usize = 1_024;
/// Of those, for one address or one certificate that connects.
pub const MAX_CHALLENGES_OF_A_SOURCE: usize = 256;
/// Of those, for one node.
pub const MAX_CHALLENGES_OF_A_NODE: usize = 4;
/// How long calls in flight may take once shutdown began.
pub const DRAIN: Duration = Duration::from_secs(6);
/// How long everything else of a shutdown may take (store, journal).
pub const CLOSE: Duration = Duration::from_secs(2);
/// The most revocations in force at one time.
pub const MAX_REVOCATIONS: usize = 5_000;
/// The most bytes of what they name, all together: the list goes to every agent.
pub const MAX_REVOKED_BYTES: usize = 256 << 10;
/// By how much the clock of a relying party may be behind: for so long after its
/// expiry something that was revoked stays on the list.
pub const REVOCATION_SKEW: Seconds = Seconds(300);
/// After so long the list is made anew, though nothing changed: whoever wants a
/// fresh one finds it fresh.
pub const REVOCATIONS_REFRESH: Seconds = Seconds(600);
/// The validity of a certificate revocation list; renewed at half of it.
pub const CRL_LIFETIME: Seconds = Seconds(86_400);
/// How long `revoke` waits for the list that holds it to be signed.
pub const REVOKE_WAIT: Duration = Duration::from_secs(3);
/// Between two looks whether a list is due, and the first pause after one could not
/// be signed.
pub const REVOCATIONS_RETRY: Duration = Duration::from_secs(1);
/// The longest pause after lists could not be signed again and again.
pub const REVOCATIONS_LONGEST_RETRY: Duration = Duration::from_secs(16);
/// The most unexpired SVIDs that a revocation's answer names.
pub const MAX_REVOKED_HITS: usize = 1_000;
/// How often expired tokens and entries are removed, as a cron schedule (UTC).
pub const SWEEP_SCHEDULE: &str = "*/30 * * * * *";
/// Expired things removed in one sweep; the rest waits for the next.
pub const MAX_SWEEP: usize = 5_000;
/// Bytes of the store's change log kept for followers.
pub const CHANGE_LOG_BYTES: usize = 8 << 20;
/// For how long an agent whose stream ended is waited for before a new key signs.
pub const RECONNECT: Duration = Duration::from_secs(10);
/// Dirty marks kept for one push subscriber are one flag; so many subscribers there may be.
pub const MAX_SUBSCRIBERS: usize = 50_000;
/// The most streams over which one agent follows: it needs one, and a few more while
/// lost connections are found out.
pub const MAX_SUBSCRIPTIONS_PER_AGENT: usize = 8;
/// Refusals of one address without a certificate (of one /64 with IPv6) that get a record
/// each; more are counted and told in one record a minute.
pub const ADDRESS_REFUSALS: Allowance = Allowance::new(20, 1);
/// The same for all addresses together.
pub const STRANGER_REFUSALS: Allowance = Allowance::new(200, 10);
/// The same for one SPIFFE ID.
pub const ONE_PEER_REFUSALS: Allowance = Allowance::new(1_000, 10);
/// The same for one entry that a SPIFFE ID asks for.
pub const ENTRY_REFUSALS: Allowance = Allowance::new(100, 2);
/// The same for all SPIFFE IDs together.
pub const PEER_REFUSALS: Allowance = Allowance::new(5_000, 100);
/// Sources whose use of the decision log is counted apart; more share one account.
pub const MAX_BUDGET_ACCOUNTS: usize = 16_384;
/// Sources named when refusals are told that got no record each; the rest are summed up.
pub const MAX_UNRECORDED_SOURCES: usize = 16;
/// Between two such records of a source.
pub const UNRECORDED_PERIOD: Duration = Duration::from_secs(60);
/// Between two looks at the decision log and its disk.
pub const JOURNAL_LOOK: Duration = Duration::from_secs(1);
/// Between two looks at what is to be archived and removed.
pub const RETENTION_PERIOD: Duration = Duration::from_secs(60);
/// How long the journal may fail to write, for another reason than a full disk, before
/// the process ends so that it is started again.
pub const JOURNAL_HEALS_WITHIN: Duration = Duration::from_secs(30);
/// Between two log lines about a failure that every call meets.
pub const TROUBLE_LOG_PERIOD: Duration = Duration::from_secs(60);
/// The most credentials that are kept in mind to be found by a revocation.
pub const MAX_OUTSTANDING: usize = 262_144;
/// The same for one SPIFFE ID.
pub const MAX_OUTSTANDING_OF_ID: usize = 1_024;
/// A log with at most so many records is read for them before the start goes on.
pub const FILLED_AT_START: u64 = 20_000;
/// How many seconds of a byte share of the decision log may be used at once.
pub const SHARE_BURST_SECONDS: u64 = 256;
/// The longest list of audiences in a record, in bytes; of a longer one the first
/// audiences and the hash of all are kept.
pub const MAX_RECORDED_AUDIENCES: usize = 256;
/// The largest policy set, in bytes of its files.
pub const MAX_POLICY_BYTES: usize = 8 << 20;
/// The most activations of policy sets that are kept, with the sets they name.
pub const MAX_ACTIVATIONS: usize = 50;
/// Parts of policy sets that no activation names, forgotten with one activation.
pub const MAX_CHUNKS_FORGOTTEN: usize = 5_000;
/// The most registered workloads a plan or a question who can looks at.
pub const MAX_CANDIDATES: usize = 2_000;
/// The most changes of access that a plan lists.
pub const MAX_PLAN_CHANGES: usize = 1_000;
/// The most entries of which it is remembered what workload attestation found last.
pub const MAX_ATTESTED: usize = 10_000;
/// The longest such finding that is remembered, in bytes.
pub const MAX_ATTESTED_BYTES: usize = 4_096;
/// Requests for tokens of one entry in one second, and of one agent for entries that
/// are not its own; more are turned away undecided, and the first of them in each
/// second leaves a record.
pub const MAX_MINTS_A_SECOND: u32 = 200;
/// The most counts of requests, and of mints, that are kept at one time.
pub const MAX_RATE_COUNTS: usize = 500_000;
/// The largest decision in a record, in bytes of JSON.
pub const MAX_DECISION_BYTES: usize = 28_000;
/// The longest ticket of break-glass, in bytes.
pub const MAX_TICKET_BYTES: usize = 256;
/// How long break-glass waits for its second person.
pub const GLASS_WAITS: Seconds = Seconds(3_600);
/// How long break-glass that has ended is kept in the list; the log keeps it longer.
pub const GLASS_KEPT: Seconds = Seconds(7 * 86_400);
/// The most break-glass that is kept; of what has ended, the oldest goes first.
pub const MAX_BREAK_GLASS: usize = 1_000;
/// The most break-glass that is open at one time, approved or not.
pub const MAX_OPEN_GLASS: usize = 500;
/// Of that, asked for by one person.
pub const MAX_OPEN_GLASS_EACH: usize = 20;
/// The most audiences that limit one entry's tokens.
pub const MAX_LIMIT_AUDIENCES: usize = 64;
/// Connections on the public listener at one time.
pub const MAX_PUBLIC_CONNECTIONS: usize = 256;
/// The most bytes of a request's body that the public listener reads.
pub const MAX_PUBLIC_BODY_BYTES: usize = 8 << 10;
/// The longest a public connection may live.
pub const PUBLIC_AGE: Duration = Duration::from_secs(60);
/// The largest certificate or key file of the public listener, in bytes.
pub const MAX_PEM_BYTES: u64 = 256 << 10;
/// Connections to the admin socket at one time, at most; fewer where few files may be open.
pub const MAX_ADMIN_CONNECTIONS: usize = 256;
/// The longest that rotation goes without a look, whatever the cron schedule says.
pub const LONGEST_LOOK_SECONDS: u32 = 60;
/// Between two looks at the rotation while a tainted key still signs.
pub const TAINTED_LOOK: Duration = Duration::from_secs(1);
/// Connections on the operations listener at one time.
pub const MAX_OPS_CONNECTIONS: usize = 64;
/// The largest file of an upstream authority, in bytes.
pub const MAX_UPSTREAM_FILE_BYTES: u64 = 256 << 10;
/// The most certificates in one file of an upstream authority.
pub const MAX_UPSTREAM_CERTIFICATES: usize = 64;
/// How long a call to an upstream server may take, connecting included.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and the longest pause after an upstream authority could not sign,
/// in seconds.
pub const UPSTREAM_PAUSE_SECONDS: (u32, u32) = (5, 300);
/// The longest that a downstream server's JWT key may stay published, in seconds.
pub const MAX_DOWNSTREAM_KEY_SECONDS: u32 = 366 * 86_400;
/// The longest key id that anybody may bring into the own bundle, in bytes.
pub const MAX_KEY_ID_BYTES: usize = 64;
/// The longest SPIFFE ID, address or reason that is kept beside an authority, in bytes.
pub const MAX_OWNER_TEXT_BYTES: usize = 256;
/// The most JWT keys that one downstream entry may have published at one time.
pub const MAX_DOWNSTREAM_KEYS: usize = 32;
/// The most bytes of those keys, with their ids.
pub const MAX_DOWNSTREAM_KEY_BYTES: usize = 20 << 10;
/// As [`MAX_DOWNSTREAM_KEYS`], where they are published above as well: what this server
/// may publish there is shared by all below it, and its own keys keep a part.
pub const MAX_FORWARDED_KEYS_OF_ONE: usize = 12;
/// The most JWT keys of all downstream entries that are published above.
pub const MAX_FORWARDED_KEYS: usize = 24;
/// The most downstream entries that may have published keys at one time.
pub const MAX_DOWNSTREAM_OWNERS: usize = 128;
/// The most bytes of the keys of all downstream entries: every agent is sent them.
pub const MAX_ALL_DOWNSTREAM_KEY_BYTES: usize = 256 << 10;
/// The most X.509 authorities that administrators may have appended: agents take 64,
/// and the server's own need room.
pub const MAX_APPENDED_ROOTS: usize = 20;
/// The most JWT keys that administrators may have appended.
pub const MAX_APPENDED_KEYS: usize = 64;
/// The largest certificate of an authority in the own bundle, in bytes.
pub const MAX_ROOT_BYTES: usize = 4_096;
/// The most roots that are kept of an authority above.
pub const MAX_UPSTREAM_ROOTS: usize = 16;
/// The most bytes of those roots: half of the record of the own part, of which the
/// server's own keys need the rest.
pub const MAX_UPSTREAM_ROOT_BYTES: usize = 16_000;
/// The most records of JWT keys that an authority above publishes.
pub const MAX_UPSTREAM_PARTS: usize = 16;
/// The most bytes of keys in each.
pub const UPSTREAM_PART_BYTES: usize = 28_000;
/// Those who look up at one time whether a certificate was issued here.
pub const ISSUANCE_LOOKS: usize = 2;
/// How long a caller waits for a place among them.
pub const ISSUANCE_LOOK_WAIT: Duration = Duration::from_secs(5);
/// The most answers to that question that are remembered.
pub const MAX_KNOWN_ISSUANCES: usize = 8_192;
/// By how much the record of an issuance and the certificate's own times may differ.
pub const ISSUANCE_SLACK: Seconds = Seconds(60);
/// Calls in progress at one time for one address without a certificate, and for all such
/// addresses together. More wait.
pub const MAX_CALLS_OF_AN_ADDRESS: usize = 64;
/// See [`MAX_CALLS_OF_AN_ADDRESS`].
pub const MAX_CALLS_OF_STRANGERS: usize = 2_048;
/// Calls of one address that may wait; more are told to come again.
pub const MAX_WAITING_CALLS_OF_AN_ADDRESS: usize = 512;
/// Calls in progress at one time for one SPIFFE ID: an agent that asks for more at once
/// waits for itself, and no other waits for it.
pub const MAX_CALLS_OF_AN_IDENTITY: usize = 64;
/// Calls of one SPIFFE ID that may wait; more are told to come again.
pub const MAX_WAITING_CALLS_OF_AN_IDENTITY: usize = 1_024;
/// Calls in progress at one time on the admin socket, a share that nobody else has.
pub const MAX_LOCAL_CALLS: usize = 256;
/// How long a call waits for its caller's share before it is told to come again.
pub const CALL_QUEUE_WAIT: Duration = Duration::from_secs(10);
/// When somebody who is told to come again should do so, in milliseconds.
pub const COME_AGAIN_MS: &str = "1000";
/// Request bytes held at one time for one address without a certificate, and for all
/// such addresses together.
pub const MAX_REQUEST_BYTES_OF_AN_ADDRESS: usize = 1 << 20;
/// See [`MAX_REQUEST_BYTES_OF_AN_ADDRESS`].
pub const MAX_REQUEST_BYTES_OF_STRANGERS: usize = 16 << 20;
/// Request bytes held at one time for one SPIFFE ID, and for all together.
pub const MAX_REQUEST_BYTES_OF_AN_IDENTITY: usize = 16 << 20;
/// See [`MAX_REQUEST_BYTES_OF_AN_IDENTITY`].
pub const MAX_REQUEST_BYTES_OF_IDENTITIES: usize = 128 << 20;
/// Request bytes held at one time for the admin socket, a share that nobody else has.
pub const MAX_LOCAL_REQUEST_BYTES: usize = 64 << 20;
/// Signatures (X.509-SVIDs and JWT-SVIDs) that one agent may have each second, over time.
pub const SIGNATURES_A_SECOND: u32 = 5_000;
/// Signatures that one agent may have at once before that rate holds: an agent that starts
/// asks for all of its entries.
pub const SIGNATURE_BURST: u32 = 200_000;
/// The most agents whose signatures are counted at one time.
pub const MAX_SIGNATURE_COUNTS: usize = MAX_NODES;
/// Calls at one time on one connection without a certificate.
pub const STREAMS_OF_STRANGERS: u32 = 8;
/// Descriptors kept for the store, the journal and the runtime, before listeners get any.
pub const OTHER_DESCRIPTORS: usize = 256;
/// Within how long the rotation must have looked and succeeded: the shortest and the
/// longest, whatever the lifetime of authorities.
pub const ROTATION_WITHIN_LEAST: Duration = Duration::from_secs(5);
/// See [`ROTATION_WITHIN_LEAST`].
pub const ROTATION_WITHIN_MOST: Duration = Duration::from_secs(180);
/// Within how long a record must have been made durable, probes included.
pub const JOURNAL_WITHIN: Duration = Duration::from_secs(30);
/// How often the journal of an idle server is probed.
pub const JOURNAL_PROBE: Duration = Duration::from_secs(5);
/// Within how long the change log must have answered.
pub const FOLLOWING_WITHIN: Duration = Duration::from_secs(30);
/// Within how long the list of what is revoked must be up to date.
pub const LIST_WITHIN: Duration = Duration::from_secs(120);
/// Within how long what has expired must have been removed.
pub const PRUNING_WITHIN: Duration = Duration::from_secs(180);
/// The longest that removing what has expired waits, whatever becomes of the cron jobs.
pub const LONGEST_SWEEP: Duration = Duration::from_secs(60);
/// Within how long the web certificate's files must have been read.
pub const WEB_WITHIN: Duration = Duration::from_secs(120);
/// How often the duties are looked at.
pub const SUPERVISOR_LOOK: Duration = Duration::from_secs(1);
/// After such a gap between two looks nobody can have kept a deadline.
pub const SUPERVISOR_GAP: Duration = Duration::from_secs(15);
/// For how long a duty must ask for a new start before the process ends by itself.
pub const RESTART_AFTER: Duration = Duration::from_secs(15);
