//! The page: Trunk compiles it, and what Trunk leaves to others is done here.
//!
//! That is the size pass of `wasm-opt` (without the words of panics), short names between the
//! WebAssembly and its script, one style sheet out of many, no remarks in any of them, names by
//! final content, and the compressed variant beside every file that gains by one. The result lies
//! in `dist/`, where the server embeds it and `dist` copies it from.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    imports, order, panics, script, shell, split,
    stamp::{Stamp, hex},
    tools,
};

/// What a compressed variant is worth writing for; pictures and fonts are compressed already.
const COMPRESSIBLE: &[&str] = &[
    "css",
    "html",
    "ico",
    "js",
    "json",
    "svg",
    "txt",
    "wasm",
    "webmanifest",
];

/// Files in which another file's name may stand.
const TEXT: &[&str] = &["css", "html", "js", "json", "webmanifest"];

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    build()
}

/// Where the finished page lies.
pub(crate) fn dist() -> PathBuf {
    shell::root().join("dist")
}

/// Whether what lies in `dist/` was built from what lies here.
///
/// # Errors
/// The inputs cannot be read.
pub(crate) fn is_current() -> Result<bool> {
    Ok(Stamp::now()?.matches(&dist()))
}

/// Builds the page into `dist/` unless what lies there was built from the same inputs.
///
/// # Errors
/// A tool is missing, or the page does not compile.
pub(crate) fn build() -> Result<()> {
    let stamp = Stamp::now()?;
    if stamp.matches(&dist()) {
        println!("The page is up to date");
        return Ok(());
    }
    tools::for_page()?;
    println!("Building the page (the first time about two minutes on two cores)");
    let started = Instant::now();
    let stage = shell::target().join("page");
    shell::remove(&stage)?;
    // Trunk must not fetch tools by itself. Its `--offline` makes sure, and binds cargo too, so
    // the crates come first.
    shell::run(shell::cargo().args(["fetch", "--locked"]))?;
    shell::run(
        trunk()
            .args(["build", "--release", "--offline", "--features", "split"])
            .arg("--dist")
            .arg(&stage),
    )
    .context("the page could not be built")?;
    split::apart(&stage, &only(&stage, "js")?, &only(&stage, "wasm")?)?;
    optimise(&stage)?;
    two_style_sheets(&stage)?;
    one_script(&stage)?;
    short_document(&stage)?;
    name_by_content(&stage)?;
    compress(&stage)?;
    publish(&stage, &dist())?;
    stamp.keep(&dist())?;
    println!("The page is built ({} s)", started.elapsed().as_secs());
    Ok(())
}

/// Trunk, told not to look for newer versions of itself.
pub(crate) fn trunk() -> std::process::Command {
    let mut command = shell::command("trunk");
    command.env("TRUNK_SKIP_VERSION_CHECK", "true");
    // Trunk reads this variable as a flag and refuses the customary "1".
    if std::env::var_os("NO_COLOR").is_some() {
        command.env("NO_COLOR", "true");
    }
    command
}

/// What `wasm-opt` is told. Until nothing shrinks any more, and without moving functions into the
/// only one that calls them, which packs worse; nothing of ours lies in the first 1024 bytes, where
/// the stack ends that overflows long before it is of use. Not `--traps-never-happen`: it would
/// take the checks of bounds for checks of nothing, since what they guard against traps.
const FIRST_PASS: &[&str] = &[
    "-Os",
    "--converge",
    "--low-memory-unused",
    "--one-caller-inline-max-function-size=10",
];

/// Writes the way through each function anew from its blocks, which packs a little better (1.3 kB)
/// than the compiler's, and clears up behind it. Names stay until the functions are in [`order`].
const SECOND_PASS: &[&str] = &["--flatten", "--rereloop", "-Os", "-Os", "--debuginfo"];

/// Shrinks the WebAssembly by about a third, where there is a `wasm-opt` to do it. `-Oz` and
/// `-O3` come out within one percent of each other once compressed.
fn optimise(stage: &Path) -> Result<()> {
    let Some(wasm_opt) = tools::wasm_opt() else {
        return Ok(());
    };
    let mut all = files(stage)?;
    all.retain(|file| has_extension(file, &["wasm"]));
    // Side by side: each takes a minute, of one core.
    thread::scope(|scope| {
        let begun: Vec<_> = all
            .iter()
            .map(|file| scope.spawn(|| shrink(file, &wasm_opt)))
            .collect();
        let ended = begun.into_iter().map(|one| match one.join() {
            Ok(result) => result,
            Err(_) => bail!("shrinking the page panicked; what it said is above"),
        });
        ended.collect()
    })
}

fn shrink(file: &Path, wasm_opt: &tools::WasmOpt) -> Result<()> {
    let (silent, emptied) = panics::silence(&fs::read(file)?)?;
    // All would be none: names that are no longer what they were.
    if emptied == 0 {
        println!("note: no panic was found in the page, so it keeps their words");
    }
    fs::write(file, silent)?;
    let smaller = file.with_extension("wasm.smaller");
    shell::run(
        shell::command(&wasm_opt.program)
            .args(FIRST_PASS)
            .args(SECOND_PASS)
            .arg(file)
            .arg("-o")
            .arg(&smaller),
    )
    .with_context(|| format!("wasm-opt {} could not shrink the page", wasm_opt.version))?;
    fs::rename(&smaller, file)?;
    // With these the place in a trap's stack can be read: `wasm-function[17]`.
    let names = shell::target().join(match split::is_part(file) {
        true => "page.late.functions",
        false => "page.functions",
    });
    order::sort(file, &wasm_opt.program, &names)
}

/// What runs in a browser while no page is open: a script that nothing of the page loads.
const WORKER: &str = "notifications.js";

/// The only file of the stage with this extension, but for what is loaded later and the worker.
fn only(stage: &Path, extension: &str) -> Result<PathBuf> {
    let all = files(stage)?.into_iter();
    let mut found = all.filter(|file| {
        has_extension(file, &[extension])
            && !split::is_part(file)
            && shell::file_name(file) != WORKER
    });
    match (found.next(), found.next()) {
        (Some(file), None) => Ok(file),
        _ => bail!("the page is to have one .{extension} file"),
    }
}

/// Makes the script that wasm-bindgen wrote as short as it can be without changing what it does:
/// short names for what the WebAssembly takes from it, no comments, no indentation. It then loads
/// the page's other part.
fn one_script(stage: &Path) -> Result<()> {
    let (wasm, file) = (only(stage, "wasm")?, only(stage, "js")?);
    let (short_wasm, short_script) =
        imports::shorten(&fs::read(&wasm)?, &fs::read_to_string(&file)?)?;
    fs::write(wasm, short_wasm)?;
    let script = script::shorter(&script::without_comments(&short_script));
    let part = |extension: &str| -> Result<String> {
        let mut all = files(stage)?.into_iter();
        let part = all.find(|file| split::is_part(file) && has_extension(file, &[extension]));
        let part =
            part.with_context(|| format!("the page has no other part that is .{extension}"))?;
        Ok(shell::file_name(&part))
    };
    let script = split::with_loader(&script, &part("wasm")?, &part("css")?)?;
    fs::write(file, script)?;
    Ok(())
}

/// Stands in `index.html` before the style sheets that are loaded with what is opened.
const LATE_SHEETS: &str = "<!-- Of what is loaded when it is opened. -->";

/// Makes one style sheet of all that `index.html` names: a request in place of many, and together
/// they are packed into two thirds. Those behind [`LATE_SHEETS`] become another one, which comes
/// with the page's other part.
fn two_style_sheets(stage: &Path) -> Result<()> {
    const BEFORE: &str = "<link rel=\"stylesheet\" href=\"";
    let index = stage.join("index.html");
    let html = fs::read_to_string(&index)?;
    let (mut sheet, mut late) = (String::new(), String::new());
    let mut is_late = false;
    let mut lines = Vec::new();
    // Where the first one stood, and how its address began.
    let mut first = None;
    for line in html.lines() {
        let href = line.trim_start().strip_prefix(BEFORE);
        let Some((href, _)) = href.and_then(|rest| rest.split_once('"')) else {
            is_late |= line.contains(LATE_SHEETS);
            lines.push(line.to_owned());
            continue;
        };
        let name = href.rsplit('/').next().unwrap_or(href);
        let file = stage.join(name);
        let css = fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        match is_late {
            true => &mut late,
            false => &mut sheet,
        }
        .push_str(&without_comments(&css));
        fs::remove_file(&file)?;
        let slash = &href[..href.len() - name.len()];
        first.get_or_insert((lines.len(), slash.to_owned()));
    }
    let Some((place, slash)) = first else {
        return Ok(());
    };
    let named = |sheet: &str, end: &str| {
        let hash = hex(&Sha256::digest(sheet));
        format!("page-{}{end}.css", &hash[..16])
    };
    let name = named(&sheet, "");
    lines.insert(place, format!("  {BEFORE}{slash}{name}\"/>"));
    fs::write(stage.join(&name), sheet)?;
    if !late.is_empty() {
        fs::write(stage.join(named(&late, split::END)), late)?;
    }
    fs::write(&index, lines.join("\n") + "\n")?;
    Ok(())
}

fn short_document(stage: &Path) -> Result<()> {
    let index = stage.join("index.html");
    let html = fs::read_to_string(&index)?;
    fs::write(&index, without_remarks(&html))?;
    Ok(())
}

/// The document without indentation, empty lines, and lines that are comments, of its scripts, too.
/// Every other end of a line stays, since it can be a space to the reader.
fn without_remarks(html: &str) -> String {
    let is_remark = |line: &str| {
        let is_comment = line.starts_with("<!--") && line.ends_with("-->");
        line.is_empty() || is_comment || line.starts_with("//")
    };
    let lines = html.lines().map(str::trim).filter(|line| !is_remark(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A style sheet without its comments, and without the white space that only people need: more than
/// one, around braces, semicolons and commas, and behind the name of a property. Texts stay.
fn without_comments(css: &str) -> String {
    let mut parts = css.split("/*");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once("*/").map_or("", |(_, rest)| rest));
    }
    let mut sheet = String::with_capacity(plain.len());
    // Where the newest selector, property or value began; what ends the text that is being read.
    let (mut begun, mut quote) = (0, None);
    let mut is_apart = false;
    for letter in plain.chars() {
        if quote.is_none() && letter.is_whitespace() {
            is_apart = true;
            continue;
        }
        let binds = |it: char| "{};,".contains(it);
        if is_apart && quote.is_none() {
            let is_value = sheet[begun..].strip_suffix(':').is_some_and(|name| {
                let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
                !name.starts_with("--") && name.bytes().all(is_letter)
            });
            if !sheet.is_empty() && !sheet.ends_with(binds) && !binds(letter) && !is_value {
                sheet.push(' ');
            }
        }
        is_apart = false;
        match quote {
            Some(end) if end == letter => quote = None,
            None if "\"'".contains(letter) => quote = Some(letter),
            None if letter == '}' => sheet.truncate(sheet.trim_end_matches(';').len()),
            _ => {}
        }
        sheet.push(letter);
        if quote.is_none() && "{};".contains(letter) {
            begun = sheet.len();
        }
    }
    sheet
}

/// Gives every file with a hash in its name one of its final content.
///
/// Trunk takes the hash before `wasm-opt` has run, so two different files could have one name,
/// and a browser that was told to keep it for ever would. What names others comes after them:
/// WebAssembly, then scripts, and `index.html` names them all.
fn name_by_content(stage: &Path) -> Result<()> {
    for extension in ["wasm", "js"] {
        for file in files(stage)?
            .into_iter()
            .filter(|file| has_extension(file, &[extension]))
        {
            let name = shell::file_name(&file);
            let Some(old) = hash_in(&name) else { continue };
            let new = hex(&Sha256::digest(fs::read(&file)?))[..old.len()].to_owned();
            let renamed = name.replace(old, &new);
            fs::rename(&file, file.with_file_name(&renamed))?;
            // The whole name, since the script and the WebAssembly carry the same hash at first.
            for text in files(stage)?
                .into_iter()
                .filter(|file| has_extension(file, TEXT))
            {
                let before = fs::read_to_string(&text)
                    .with_context(|| format!("{} is not text", text.display()))?;
                let after = before.replace(&name, &renamed);
                if before != after {
                    fs::write(&text, after)?;
                }
            }
        }
    }
    let index = stage.join("index.html");
    let html = fs::read_to_string(&index)?;
    fs::write(&index, without_integrity(&html))?;
    Ok(())
}

/// The hash that Trunk put into a file's name: 16 hexadecimal digits after the last dash.
pub(crate) fn hash_in(name: &str) -> Option<&str> {
    let hash = name.rsplit_once('-')?.1.get(..16)?;
    hash.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        .then_some(hash)
}

/// The document without `integrity` attributes: they are of the content before `wasm-opt`, and a
/// name by content from the same origin says as much.
fn without_integrity(html: &str) -> String {
    let mut parts = html.split(" integrity=\"");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.push_str(part.split_once('"').map_or(part, |(_, rest)| rest));
    }
    result
}

/// Writes the brotli and gzip variants beside each file that they make smaller.
pub(crate) fn compress(folder: &Path) -> Result<()> {
    for file in files(folder)?
        .into_iter()
        .filter(|file| has_extension(file, COMPRESSIBLE))
    {
        let bytes = fs::read(&file)?;
        for (suffix, packed) in [("br", brotli(&bytes)?), ("gz", gzip(&bytes)?)] {
            if packed.len() < bytes.len() {
                fs::write(with_suffix(&file, suffix), packed)?;
            }
        }
    }
    Ok(())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn brotli(bytes: &[u8]) -> Result<Vec<u8>> {
    const BUFFER: usize = 64 * 1024;
    const QUALITY: u32 = 11;
    const WINDOW_LOG2: u32 = 24;
    let mut writer = brotli::CompressorWriter::new(Vec::new(), BUFFER, QUALITY, WINDOW_LOG2);
    writer.write_all(bytes)?;
    writer.flush()?;
    Ok(writer.into_inner())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

/// Makes `dist` equal to `stage` by writing only what differs, so that the server, which embeds
/// these files, is compiled again only when one of them really changed.
pub(crate) fn publish(stage: &Path, dist: &Path) -> Result<()> {
    fs::create_dir_all(dist)?;
    let relative = |folder: &Path| -> Result<BTreeSet<PathBuf>> {
        files(folder)?
            .into_iter()
            .map(|file| Ok(file.strip_prefix(folder)?.to_path_buf()))
            .collect()
    };
    let fresh = relative(stage)?;
    if !fresh.contains(Path::new("index.html")) {
        bail!(
            "the page was built, and {} has no index.html",
            stage.display()
        );
    }
    for stale in relative(dist)?.difference(&fresh) {
        fs::remove_file(dist.join(stale))?;
    }
    for file in &fresh {
        let (from, to) = (stage.join(file), dist.join(file));
        let bytes = fs::read(&from)?;
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, bytes).with_context(|| format!("{} cannot be written", to.display()))?;
    }
    Ok(())
}

/// What is loaded before anything is shown may be so large at most, bytes.
const FIRST_LOAD_MAX: u64 = 200_000;

/// How many bytes are loaded by a browser that takes brotli.
pub(crate) struct Sizes {
    /// By the first visit, all files.
    pub(crate) first: u64,
    /// The WebAssembly among them.
    pub(crate) wasm: u64,
    /// When something is opened that is not needed at first.
    pub(crate) late: u64,
}

/// What the finished page in `dist` weighs.
///
/// # Errors
/// It cannot be read.
pub(crate) fn sizes(dist: &Path) -> Result<Sizes> {
    let mut sizes = Sizes {
        first: 0,
        wasm: 0,
        late: 0,
    };
    let never_loaded =
        |file: &Path| has_extension(file, &["br", "gz"]) || file.ends_with("_headers");
    for file in files(dist)?.into_iter().filter(|file| !never_loaded(file)) {
        let packed = with_suffix(&file, "br");
        let bytes = fs::metadata(if packed.is_file() { &packed } else { &file })?.len();
        if split::is_part(&file) {
            sizes.late += bytes;
            continue;
        }
        sizes.first += bytes;
        if has_extension(&file, &["wasm"]) {
            sizes.wasm += bytes;
        }
    }
    Ok(sizes)
}

/// Sees that the first visit loads little. Without `wasm-opt` that cannot be told.
///
/// # Errors
/// It loads too much.
pub(crate) fn first_load_is_small() -> Result<()> {
    let first = sizes(&dist())?.first;
    if first > FIRST_LOAD_MAX && tools::wasm_opt().is_some() {
        bail!(
            "the first visit loads {first} B, and is to load {FIRST_LOAD_MAX} B at most: what is not \
             needed for the overview belongs behind `frontend/src/late.rs`"
        );
    }
    println!("The first visit loads {first} B of {FIRST_LOAD_MAX} B");
    Ok(())
}

/// All files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be listed", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    Ok(found)
}

fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    file.extension()
        .is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_found_only_where_trunk_puts_it() {
        assert_eq!(
            hash_in("page-3489e525fb71e657_bg.wasm"),
            Some("3489e525fb71e657")
        );
        assert_eq!(
            hash_in("page-3489e525fb71e657.js"),
            Some("3489e525fb71e657")
        );
        assert_eq!(hash_in("apple-touch-icon.png"), None);
        assert_eq!(hash_in("index.html"), None);
    }

    #[test]
    fn integrity_attributes_go_and_the_rest_stays() {
        let html =
            "<link href=\"/a.js\" integrity=\"sha384-x\"><link href=\"/b.css\" integrity=\"y\"/>";
        assert_eq!(
            without_integrity(html),
            "<link href=\"/a.js\"><link href=\"/b.css\"/>"
        );
        assert_eq!(without_integrity("<p>plain</p>"), "<p>plain</p>");
    }

    #[test]
    fn style_sheets_become_one_in_their_order() -> Result<()> {
        let stage =
            std::env::temp_dir().join(format!("pulseboard-xtask-css-{}", std::process::id()));
        let stage = stage.as_path();
        shell::remove(stage)?;
        fs::create_dir_all(stage)?;
        fs::write(stage.join("b-1.css"), "/* first */\n.b {\n  top: 0; }\n")?;
        fs::write(stage.join("a-2.css"), ".a { top: 1px; } /* end */")?;
        let html = "<head>\n  <link rel=\"stylesheet\" href=\"./b-1.css\"/>\n  \
                    <link rel=\"stylesheet\" href=\"./a-2.css\"/>\n</head>\n";
        fs::write(stage.join("index.html"), html)?;
        two_style_sheets(stage)?;
        let names: Vec<String> = files(stage)?
            .iter()
            .map(|file| shell::file_name(file))
            .collect();
        let [index, sheet] = names.as_slice() else {
            bail!("{names:?}");
        };
        assert_eq!(index, "index.html");
        assert!(hash_in(sheet).is_some(), "{sheet}");
        assert_eq!(
            fs::read_to_string(stage.join(index))?,
            format!("<head>\n  <link rel=\"stylesheet\" href=\"./{sheet}\"/>\n</head>\n")
        );
        assert_eq!(
            fs::read_to_string(stage.join(sheet))?,
            ".b{top:0}.a{top:1px}"
        );
        shell::remove(stage)
    }

    #[test]
    fn what_is_opened_later_has_a_sheet_of_its_own() -> Result<()> {
        let stage =
            std::env::temp_dir().join(format!("pulseboard-xtask-late-{}", std::process::id()));
        let stage = stage.as_path();
        shell::remove(stage)?;
        fs::create_dir_all(stage)?;
        fs::write(stage.join("a-1.css"), ".a { top: 0; }")?;
        fs::write(stage.join("b-2.css"), ".b { top: 0; }")?;
        let html = format!(
            "<link rel=\"stylesheet\" href=\"./a-1.css\"/>\n{LATE_SHEETS}\n\
             <link rel=\"stylesheet\" href=\"./b-2.css\"/>\n"
        );
        fs::write(stage.join("index.html"), html)?;
        two_style_sheets(stage)?;
        let sheets: Vec<PathBuf> = files(stage)?
            .into_iter()
            .filter(|file| has_extension(file, &["css"]))
            .collect();
        let (late, first): (Vec<_>, Vec<_>) = sheets.iter().partition(|file| split::is_part(file));
        let ([late], [first]) = (late.as_slice(), first.as_slice()) else {
            bail!("{sheets:?}");
        };
        assert_eq!(fs::read_to_string(late)?, ".b{top:0}");
        assert_eq!(fs::read_to_string(first)?, ".a{top:0}");
        let name = shell::file_name(late);
        assert!(hash_in(&name).is_some(), "{name} is to be kept");
        let html = fs::read_to_string(stage.join("index.html"))?;
        assert_eq!(html.matches("stylesheet").count(), 1, "{html}");
        shell::remove(stage)
    }

    #[test]
    fn a_document_loses_its_remarks_and_nothing_else() {
        let html = "<head>\n  <!-- why -->\n  <script>\n    // how\n    go(); // now\n\n  </script>\n\
                    <p>one <!-- two -->\n  three</p>\n";
        assert_eq!(
            without_remarks(html),
            "<head>\n<script>\ngo(); // now\n</script>\n<p>one <!-- two -->\nthree</p>\n"
        );
    }

    #[test]
    fn a_style_sheet_loses_what_only_people_need() {
        let css = "@media (min-width: 1px) {\n  .a:hover,\n  .b :focus {\n    --gap: ;\n    \
                   grid: \"x y\"\n      \"z  ; w\";\n    /* why */\n    top: calc(1px + 2px);\n    \
                   & h3 { margin: 0 -1px; }\n  }\n}\n.c { color: var(--x, red); &:empty { top: 0; } }\n";
        assert_eq!(
            without_comments(css),
            "@media (min-width: 1px){.a:hover,.b :focus{--gap:;grid:\"x y\" \"z  ; w\";\
             top:calc(1px + 2px);& h3{margin:0 -1px}}}.c{color:var(--x,red);&:empty{top:0}}"
        );
    }

    #[test]
    fn a_changed_file_changes_the_names_that_lead_to_it() -> Result<()> {
        let stage = std::env::temp_dir().join(format!("pulseboard-xtask-{}", std::process::id()));
        shell::remove(&stage)?;
        fs::create_dir_all(&stage)?;
        let (wasm, script) = ("page-0123456789abcdef_bg.wasm", "page-0123456789abcdef.js");
        fs::write(stage.join(wasm), b"optimised")?;
        fs::write(stage.join(script), format!("fetch('{wasm}')"))?;
        fs::write(
            stage.join("index.html"),
            format!("<script src=\"/{script}\"></script><i id=\"/{wasm}\">"),
        )?;
        name_by_content(&stage)?;

        let names: Vec<String> = files(&stage)?
            .iter()
            .map(|file| shell::file_name(file))
            .collect();
        let html = fs::read_to_string(stage.join("index.html"))?;
        assert_eq!(names.len(), 3);
        assert!(
            !names.contains(&wasm.to_owned()) && !names.contains(&script.to_owned()),
            "{names:?}"
        );
        for name in names.iter().filter(|name| *name != "index.html") {
            assert!(html.contains(name.as_str()), "{html} does not name {name}");
        }
        shell::remove(&stage)
    }
}
