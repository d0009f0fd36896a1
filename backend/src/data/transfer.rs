//! Series out of a running server, and in.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use pulseboard::settings::{Connection, Settings};
use pulseboard_outbound::{Answer, header};
use tokio::time::Instant;

use super::asked::{Asked, told};

/// All series.
pub(super) const ALL: &str = "{__name__!=\"\"}";

/// An answer that brings nothing for so long is broken off.
const SILENCE: Duration = Duration::from_secs(300);

/// A piece of lines that is sent at once.
const PIECE_BYTES: usize = 4 << 20;

/// A line is no longer; that is what a server takes by default.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// How often a server that is busy is asked again.
const TRIES: u32 = 60;

/// Writes what the server answers to `query`; what was done, in words for standard output (none
/// where that has the series).
pub(super) async fn export(
    settings: &Settings,
    from: &Connection,
    query: &[(&str, &str)],
    output: Option<&Path>,
) -> Result<String, String> {
    let asked = Asked::new(settings, from)?;
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query);
    let mut reader = asked
        .open(&format!("/api/v1/export?{}", text.finish()))
        .await?;
    if reader.status != 200 {
        let mut body = Vec::new();
        while let Some(piece) = next(&mut reader).await?
            && body.len() < PIECE_BYTES
        {
            body.extend_from_slice(&piece);
        }
        let answer = Answer {
            status: reader.status,
            headers: reader.headers.clone(),
            wire_bytes: body.len(),
            seat: None,
            body: body.into(),
        };
        return Err(told(&answer));
    }
    let expected = match query.contains(&("format", "csv")) {
        true => "text/csv",
        false => "application/stream+json",
    };
    let kind = reader.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("none");
    // A login page in between, for one.
    if !kind.starts_with(expected) {
        return Err(format!(
            "{} with content type {kind} is no answer of a server to a question for an export, which has {expected}",
            reader.status
        ));
    }
    let Some(path) = output else {
        let mut out = io::stdout().lock();
        while let Some(piece) = next(&mut reader).await? {
            match out.write_all(&piece) {
                // Whoever reads has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written.map_err(|error| format!("standard output: {error}"))?,
            }
        }
        return Ok(String::new());
    };
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let part = beside(path);
    let mut file = File::create(&part).map_err(failed)?;
    let mut bytes = 0_u64;
    let written = async {
        while let Some(piece) = next(&mut reader).await? {
            file.write_all(&piece).map_err(failed)?;
            bytes += piece.len() as u64;
        }
        file.sync_all().map_err(failed)?;
        fs::rename(&part, path).map_err(failed)
    };
    if let Err(why) = written.await {
        fs::remove_file(&part).ok();
        return Err(why);
    }
    Ok(format!("{}: {bytes} bytes\n", path.display()))
}

async fn next(reader: &mut pulseboard_outbound::Reader) -> Result<Option<bytes::Bytes>, String> {
    let piece = reader.chunk(Instant::now() + SILENCE).await;
    piece.map_err(|error| error.to_string())
}

/// A file that becomes `path` when it is whole.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// Gives lines to the server, some at a time; what was done, and what was refused where something
/// was, in words.
pub(super) async fn import(
    settings: &Settings,
    to: &Connection,
    file: Option<&Path>,
) -> Result<(String, Option<String>), String> {
    let asked = Asked::new(settings, to)?;
    let name = file.map_or("standard input".to_owned(), |path| {
        path.display().to_string()
    });
    let failed = |error: io::Error| format!("{name}: {error}");
    let source: Box<dyn Read> = match file {
        Some(path) => Box::new(File::open(path).map_err(failed)?),
        None => Box::new(io::stdin()),
    };
    let mut lines = BufReader::with_capacity(1 << 20, source);
    let (mut first, mut line) = (1_u64, 0_u64);
    let mut done = Done::default();
    let mut piece = Vec::new();
    loop {
        let before = piece.len();
        let read = (&mut lines)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut piece)
            .map_err(failed)?;
        if read as u64 == LINE_BYTES_MAX {
            return Err(format!(
                "{name}: line {} has more than {LINE_BYTES_MAX} bytes",
                line + 1
            ));
        }
        line += u64::from(read > 0);
        let is_over = read == 0;
        if is_over && piece.is_empty() {
            break;
        }
        // What came last goes with the next piece where it would make this one too large.
        if is_over || piece.len() >= PIECE_BYTES {
            let keep = if before > 0 && piece.len() > 2 * PIECE_BYTES {
                before
            } else {
                piece.len()
            };
            let rest = piece.split_off(keep);
            let given = std::mem::replace(&mut piece, rest);
            give(&asked, given, (&name, first), &mut done).await?;
            first = line + u64::from(piece.is_empty());
        }
    }
    let said = format!(
        "{name}: {line} lines: {} accepted, {} refused\n",
        done.accepted, done.refused
    );
    let complaint = (done.refused > 0).then(|| {
        let first = done.first_refused.join("");
        format!("{name}: {} refused{first}", done.refused)
    });
    Ok((said, complaint))
}

/// Refusals that are told.
const REFUSALS_TOLD: usize = 3;

/// What the server made of the lines so far.
#[derive(Default)]
struct Done {
    /// Samples that it took.
    accepted: u64,
    /// What it refused: lines that are none, and samples.
    refused: u64,
    /// The first of them, in words.
    first_refused: Vec<String>,
}

impl Done {
    /// Takes note of an answer to a piece that begins with that line; whether it is one to an
    /// import.
    fn note(&mut self, answer: &Answer, first: u64) -> bool {
        let said = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let (Some(accepted), Some(refused)) =
            (said["accepted"].as_u64(), said["refusedTotal"].as_u64())
        else {
            return false;
        };
        let told = REFUSALS_TOLD.saturating_sub(self.first_refused.len());
        self.first_refused.extend(refusals(answer, first, told));
        self.accepted += accepted;
        self.refused += refused;
        true
    }
}

/// Gives one piece, which begins with that line of the file, until the server takes it; what is too
/// large at once goes as halves.
async fn give(
    asked: &Asked,
    piece: Vec<u8>,
    (name, first): (&str, u64),
    done: &mut Done,
) -> Result<(), String> {
    let mut pieces = vec![(bytes::Bytes::from(piece), first)];
    let mut tries = 0;
    while let Some((piece, first)) = pieces.pop() {
        let answer = asked
            .try_post("/api/v1/import", "application/x-ndjson", piece.clone())
            .await?;
        if answer.status == 413
            && let Some(middle) = middle(&piece)
        {
            let (one, other) = (piece.slice(..middle), piece.slice(middle..));
            let lines = one.iter().filter(|byte| **byte == b'\n').count() as u64;
            pieces.extend([(other, first + lines), (one, first)]);
            continue;
        }
        match answer.status {
            200 if done.note(&answer, first) => {
                tries = 0;
                continue;
            }
            // Not all of the file is wrong.
            400 if done.accepted > 0 && done.note(&answer, first) => continue,
            429 | 503 if tries + 1 < TRIES => tries += 1,
            200..=299 => {
                let kind = match answer.content_type() {
                    "" => "none",
                    kind => kind,
                };
                return Err(format!(
                    "{name}: from line {first} on: {} with content type {kind} is no answer of a server that took something",
                    answer.status
                ));
            }
            _ => {
                return Err(format!(
                    "{name}: from line {first} on: {}{}",
                    told(&answer),
                    refusals(&answer, first, REFUSALS_TOLD).join("")
                ));
            }
        }
        pieces.push((piece, first));
        let asked_for = answer.headers.get(header::RETRY_AFTER);
        let seconds = asked_for.and_then(|value| value.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1).clamp(1, 60))).await;
    }
    Ok(())
}

/// Where a piece of several lines is two of about the same size.
fn middle(piece: &[u8]) -> Option<usize> {
    let half = piece.len() / 2;
    let after = |at: usize| (at + 1 < piece.len()).then_some(at + 1);
    let (front, back) = piece.split_at(half);
    let later = back.iter().position(|byte| *byte == b'\n');
    let later = later.and_then(|at| after(half + at));
    let earlier = front.iter().rposition(|byte| *byte == b'\n');
    later.or_else(|| earlier.and_then(after))
}

/// The first lines that the server refuses, so many at most, with their places in the file.
fn refusals(answer: &Answer, first: u64, most: usize) -> Vec<String> {
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let refused = told["refused"].as_array().into_iter().flatten().take(most);
    let lines = refused.filter_map(|one| {
        let line = first + one["line"].as_u64()?.saturating_sub(1);
        Some(format!("; line {line}: {}", one["reason"].as_str()?))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_between_lines() {
        for (piece, expected) in [
            ("", None),
            ("a\n", None),
            ("abc", None),
            ("a\nb\n", Some(2)),
            ("a\nbcdefg\n", Some(2)),
            ("abcdefg\nb\n", Some(8)),
            ("a\nb\nc\nd\n", Some(6)),
            ("a\nbcdef", Some(2)),
        ] {
            assert_eq!(middle(piece.as_bytes()), expected, "{piece:?}");
        }
    }
}
