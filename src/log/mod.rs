//! The append-only record log: JSONL segments, an RFC 6962 Merkle tree over their lines, signed checkpoints.
//!
//! In the log's directory:
//!
//! | file | what |
//! |---|---|
//! | `NNNNNNNN.jsonl` | a segment, one record a line; the last one is active, an earlier one waits to be sealed |
//! | `NNNNNNNN.jsonl.zst` | a sealed segment |
//! | `NNNNNNNN.hashes` | 32 bytes a line: its leaf hash; says *which* line was changed. Not evidence by itself |
//! | `NNNNNNNN.seal` | checkpoint at the segment's end, with the SHA-256 of the sealed file and the tree's frontier |
//! | `NNNNNNNN.retired` | signed: the segment's records were removed, when and why; its seal stays |
//! | `legal-holds.json` | what retention must not remove |
//! | `checkpoints` | checkpoints after group commits, the newest last; bounded, older ones go |
//! | `signing.key`, `signing.pub` | Ed25519 key (PKCS #8, mode 0600) and its C2SP verifier key |
//! | `signing.*.next`, `signing.next.by` | a key that lies ready to follow, and who made it |
//! | `keys` | for each earlier key a checkpoint, signed by it, that names the key behind it |
//! | `unclosed` | the first segment in which a statement can be open; where it is missing, a start reads all of them |
//! | `index.sqlite` | where to look for what; made of the lines at any time, never evidence |
//! | `policy-SHA256` | the text of a policy that records name |
//! | `lock` | held by the one process that appends |
//!
//! **Order of a group commit:** lines are written, then `fdatasync` once, then the leaf hashes and a signed checkpoint are
//! appended without a sync of their own (the next seal or close syncs them), then every strict append of the group is
//! answered. So a checkpoint never covers a line that a crash can take away, and a crash can at most take away the newest
//! checkpoints: the lines behind the last one that is left are *unanchored*, which [`verify`] says, until the next start
//! signs them. Asynchronous appends are written at once and synced with the next strict one, or after
//! [`Options::sync_interval`].
//!
//! **After a failed write or sync** the log is broken: strict appends are refused at once, asynchronous ones that were under
//! way are kept. Each later append, and a clock, tries to go on: the segment is cut back to what was durable, read back and
//! left for a new one, which begins with a record of the gap.
//!
//! **Must not:** know sessions, holds or policies; retry a failed write or sync in silence; sign over lines that do not
//! match the last checkpoint. Start reading at [`Log`]; then `writer`.

mod active;
mod checkpoint;
mod disk;
mod error;
mod handle;
mod index;
mod key;
mod legal;
mod merkle;
mod open;
mod policies;
mod prove;
mod query;
mod queue;
mod read;
mod resume;
mod retire;
mod seal;
mod seek;
mod segment;
mod succession;
mod unclosed;
mod verify;
mod writer;

pub use crate::lineage::Filters;
pub use checkpoint::Checkpoint;
pub use disk::{Disk, File, OsDisk};
pub use error::{LogError, TryAppendError};
pub use handle::{Log, Options, SYNC_TIMEOUT};
pub use index::{Index, IndexError, IndexKeeper, Progress};
pub use key::{Signer, Verifier};
pub use legal::{LegalAct, LegalHold, LegalHolds};
pub use merkle::{Hash, Leaves, Tree, is_consistent, leaf_hash, root_of_proof};
pub use open::newest_checkpoint;
pub use policies::{keep_policy, policy_path};
pub use prove::{Consistency, Proof, Proofs};
pub use query::{Matches, query};
pub use read::{Records, read};
pub use resume::read_from;
pub use retire::{Due, Retention, Retired};
pub use succession::{prepare_key, rotate_key};
pub use unclosed::{Leftovers, closing};
pub use verify::{Depth, KeptCheckpoints, Problem, Report, Tamper, VerifyOptions, verify};
