//! A folder as one file, whose damage is seen.
//!
//! ```text
//! archive = "PBBACKUP" │ version u32 │ file* │ 0 u8 │ files u32 │ crc32 of all crcs u32
//! file    = 1 u8 │ path length u16 │ path │ bytes u64 │ content │ crc32 of path and content u32
//! ```
//!
//! All numbers are little-endian. Paths are relative, with `/`, and of plain parts.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Component, Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"PBBACKUP";
const VERSION: u32 = 1;

/// Copied at once.
const PIECE_BYTES: usize = 256 << 10;

/// Writes the files of `folder` that are at or below the names of `tops`; how many bytes that were.
pub(super) fn pack(folder: &Path, tops: &[&str], into: &Path) -> io::Result<u64> {
    let mut files = Vec::new();
    for top in tops {
        list(folder, Path::new(top), &mut files)?;
    }
    let mut out = BufWriter::new(File::create(into)?);
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let (mut total, mut crcs) = (0, crc32fast::Hasher::new());
    let mut piece = vec![0; PIECE_BYTES];
    for path in &files {
        let name = path
            .to_str()
            .ok_or_else(|| io::Error::other(format!("{}: no plain name", path.display())))?;
        let mut file = File::open(folder.join(path))?;
        let bytes = file.metadata()?.len();
        let length = u16::try_from(name.len()).map_err(io::Error::other)?;
        out.write_all(&[1])?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(name.as_bytes())?;
        out.write_all(&bytes.to_le_bytes())?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(name.as_bytes());
        let mut left = bytes;
        while left > 0 {
            let read = file.read(&mut piece)?;
            let read = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            if read == 0 {
                return Err(io::Error::other(format!(
                    "{}: became shorter",
                    path.display()
                )));
            }
            let piece = piece.get(..read).unwrap_or_default();
            crc.update(piece);
            out.write_all(piece)?;
            left -= read as u64;
        }
        let crc = crc.finalize().to_le_bytes();
        crcs.update(&crc);
        out.write_all(&crc)?;
        total += bytes;
    }
    out.write_all(&[0])?;
    out.write_all(
        &u32::try_from(files.len())
            .map_err(io::Error::other)?
            .to_le_bytes(),
    )?;
    out.write_all(&crcs.finalize().to_le_bytes())?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(total)
}

fn list(folder: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let place = folder.join(path);
    let kind = match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        kind => kind?.file_type(),
    };
    if kind.is_file() {
        files.push(path.to_owned());
    } else if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&place)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            list(folder, &path.join(name), files)?;
        }
    }
    Ok(())
}

/// Writes the files of an archive into `folder`, which is new. Every byte of it is looked at; only
/// names of `tops` are taken.
pub(super) fn unpack(from: &Path, tops: &[&str], folder: &Path) -> Result<u64, String> {
    let read = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{}: it ends too early", from.display()),
        _ => format!("{}: {error}", from.display()),
    };
    let wrote = |error: io::Error| format!("{}: {error}", folder.display());
    let wrong = |what: &str| format!("{}: {what}", from.display());
    let mut input = BufReader::with_capacity(PIECE_BYTES, File::open(from).map_err(read)?);
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(read)?;
    if magic != *MAGIC {
        return Err(wrong("it is no backup of pulseboard"));
    }
    let version = u32::from_le_bytes(take(&mut input).map_err(read)?);
    if version != VERSION {
        return Err(wrong(&format!(
            "it is a backup of version {version}, and this reads version {VERSION}"
        )));
    }
    let (mut total, mut count, mut crcs) = (0, 0_u32, crc32fast::Hasher::new());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match take(&mut input).map_err(read)? {
            [0] => break,
            [1] => {}
            _ => return Err(wrong("it is damaged")),
        }
        let length = u16::from_le_bytes(take(&mut input).map_err(read)?);
        let mut name = vec![0; usize::from(length)];
        input.read_exact(&mut name).map_err(read)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&name);
        let name = String::from_utf8(name).map_err(|_error| wrong("it is damaged"))?;
        let path = plain(&name, tops)
            .ok_or_else(|| wrong(&format!("{name:?} does not belong into it")))?;
        let place = folder.join(&path);
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).map_err(wrote)?;
        }
        let mut file = File::create_new(&place).map_err(wrote)?;
        let mut left = u64::from_le_bytes(take(&mut input).map_err(read)?);
        while left > 0 {
            let size = PIECE_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = piece.get_mut(..size).unwrap_or_default();
            input.read_exact(piece).map_err(read)?;
            crc.update(piece);
            file.write_all(piece).map_err(wrote)?;
            left -= size as u64;
            total += size as u64;
        }
        file.sync_all().map_err(wrote)?;
        let told: [u8; 4] = take(&mut input).map_err(read)?;
        if told != crc.finalize().to_le_bytes() {
            return Err(wrong(&format!("{name:?} in it is damaged")));
        }
        crcs.update(&told);
        count += 1;
    }
    let files = u32::from_le_bytes(take(&mut input).map_err(read)?);
    let crc = u32::from_le_bytes(take(&mut input).map_err(read)?);
    let is_over = input.read(&mut [0]).map_err(read)? == 0;
    if files != count || crc != crcs.finalize() || !is_over {
        return Err(wrong("it is damaged"));
    }
    Ok(total)
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map(|()| bytes)
}

/// A path of plain parts below one of `tops`.
fn plain(name: &str, tops: &[&str]) -> Option<PathBuf> {
    let path = PathBuf::from(name);
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let top = path.components().next()?.as_os_str().to_str()?;
    (is_plain && tops.contains(&top)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_every_damage_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("history/wal")).expect("made");
        fs::create_dir_all(from.join("other")).expect("made");
        fs::write(from.join("history/wal/1.log"), vec![7; 1_000]).expect("written");
        fs::write(from.join("history/empty"), b"").expect("written");
        fs::write(from.join("tokens.json"), b"{}").expect("written");
        fs::write(from.join("other/not"), b"x").expect("written");
        let file = folder.path().join("all.backup");
        let tops = ["history", "tokens.json", "not-there"];
        assert_eq!(pack(&from, &tops, &file).expect("packed"), 1_002);
        let to = folder.path().join("to");
        assert_eq!(unpack(&file, &tops, &to).expect("unpacked"), 1_002);
        assert_eq!(
            fs::read(to.join("history/wal/1.log")).expect("there"),
            vec![7; 1_000]
        );
        assert_eq!(fs::read(to.join("history/empty")).expect("there"), b"");
        assert!(!to.join("other").exists());

        let whole = fs::read(&file).expect("there");
        let damaged = folder.path().join("damaged");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&damaged, &bytes).expect("written");
            let to = folder.path().join("nowhere");
            assert!(unpack(&damaged, &tops, &to).is_err(), "byte {at}");
            fs::remove_dir_all(&to).ok();
        }
        for end in [0, 9, whole.len() / 2, whole.len() - 1] {
            fs::write(&damaged, &whole[..end]).expect("written");
            let to = folder.path().join("nowhere");
            let why = unpack(&damaged, &tops, &to).expect_err("too short");
            assert!(why.contains("too early"), "{why}");
            fs::remove_dir_all(&to).ok();
        }
        for name in [
            "../history/x",
            "/history/x",
            "history/../../x",
            "other/x",
            "",
        ] {
            assert_eq!(plain(name, &tops), None, "{name}");
        }
    }
}
