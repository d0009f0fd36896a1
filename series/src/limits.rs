//! How long names and labels may be. Past each bound the sample is refused with a reason; all of
//! them are there so that one series stays under a kilobyte or two and a key fits its lengths.

/// Bytes of a metric's name.
pub const NAME_BYTES_MAX: usize = 200;

/// Labels of one series.
pub const LABELS_MAX: usize = 40;

/// Bytes of a label's name.
pub const LABEL_NAME_BYTES_MAX: usize = 128;

/// Bytes of a label's value.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// Bytes of a unit; a longer one is left out, the sample is not refused for it.
pub const UNIT_BYTES_MAX: usize = 32;

/// Different descriptions (kind and unit) in one batch; further ones are left out.
pub const DESCRIPTIONS_MAX: usize = 4096;

/// Refused lines that a batch keeps with their reasons; further ones are counted only.
pub const REFUSED_KEPT_MAX: usize = 100;

/// Lines refused after which the rest of a body is not looked at: it counts as refused, line by
/// line. More: a body of nothing but mistakes costs seconds. Fewer: one that is right in part loses
/// more of it.
pub const REFUSED_READ_MAX: u64 = 1_000_000;

/// Bytes of keys and rows in one batch. A line may name many fields for one set of labels, each of
/// which gets a key of its own, so that 90 KB could become 400 MB; further samples are refused. A
/// body of lines that is taken in pieces may have more in all, and any whose keys are its own text
/// stays below when it is not larger than a fifth of this.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

/// A piece of a body is handed on when its keys and rows take so many bytes. Larger: more memory
/// for each body in work. Smaller: shards are locked more often for the same samples.
pub const PIECE_BYTES: usize = 1 << 20;

/// Bytes of keys and rows of a trial: some four thousand of the shortest rows. Larger: whoever
/// tries is held up longer by one body. Smaller: more bodies are read twice.
pub const TRIAL_BYTES_MAX: usize = 256 << 10;
const _: () = assert!(TRIAL_BYTES_MAX < PIECE_BYTES);

/// Refusals of a trial, each of which makes a text.
pub const TRIAL_REFUSED_MAX: u64 = 1_000;

/// Bytes of keys and rows that nobody is asked for: more than a piece and the line that ends it
/// take, nearly always.
pub const FREE_BYTES: usize = 2 * PIECE_BYTES;
