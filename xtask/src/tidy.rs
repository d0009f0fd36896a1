//! `tidy`: the rules of this house that no compiler knows.
//!
//! Each rule is a function that adds findings to a list; a finding names the file and line.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    layers, shell,
    text::{has_word, sources},
    vocabulary,
};

/// The settings that are promised to users, as environment variable and as flag, so that none can
/// go or be renamed unnoticed. Those that came later are read from the server's own table.
const SETTINGS: &[(&str, &str)] = &[
    ("BIND_ADDR", "--bind"),
    ("METRIC_SOURCE", "--source"),
    ("METRIC_INTERVAL_MS", "--metric-interval-ms"),
    ("ALERT_CHECK_SEC", "--alert-check-sec"),
    ("WINDOW_SIZE", "--window-size"),
    ("DATA_DIR", "--data-dir"),
    ("ALLOWED_ORIGINS", "--allowed-origins"),
    ("ANONYMOUS_ROLE", "--anonymous-role"),
    ("MAX_CONNECTIONS", "--max-connections"),
    (
        "MAX_CONNECTIONS_PER_ADDRESS",
        "--max-connections-per-address",
    ),
    ("MAX_CONNECTIONS_PER_TOKEN", "--max-connections-per-token"),
    ("IDLE_TIMEOUT_SEC", "--idle-timeout-sec"),
    ("WRITE_TIMEOUT_SEC", "--write-timeout-sec"),
    ("DURABILITY", "--durability"),
    ("SERIES_WINDOW_SEC", "--series-window-sec"),
    ("SERIES_MEMORY_BYTES", "--series-memory-bytes"),
    ("SERIES_TTL_SEC", "--series-ttl-sec"),
    ("KEEP_RAW_HOURS", "--keep-raw-hours"),
    ("KEEP_10S_DAYS", "--keep-10s-days"),
    ("KEEP_1M_DAYS", "--keep-1m-days"),
    ("KEEP_5M_DAYS", "--keep-5m-days"),
    ("KEEP_1H_DAYS", "--keep-1h-days"),
    ("HISTORY_MAX_BYTES", "--history-max-bytes"),
    ("STATSD_ADDR", "--statsd"),
    ("OTLP_GRPC_ADDR", "--otlp-grpc"),
    ("GRAPHITE_ADDR", "--graphite"),
    ("MAX_SERIES", "--max-series"),
    ("MAX_BODY_BYTES", "--max-body-bytes"),
    ("MAX_MESSAGE_BYTES", "--max-message-bytes"),
    ("LOG_FORMAT", "--log-format"),
    ("CONFIG_FILE", "--config"),
];

/// Settings without a flag: a secret on a command line is seen by everyone on the machine.
const SETTINGS_WITHOUT_FLAG: &[&str] = &["AUTH_TOKENS"];

/// Spelt in two halves, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!("),
];

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let server = shell::server_binary();
    let server = server.is_file().then_some(server);
    if server.is_none() {
        println!(
            "note: without target/release/pulseboard, `--help` is not looked at; `cargo xtask build` makes it"
        );
    }
    check(server.as_deref())?;
    println!("tidy");
    Ok(())
}

/// Looks at everything; at what `--help` says where a server is given, which must be of this tree.
///
/// # Errors
/// Something is against the rules; all of it was printed.
pub(crate) fn check(server: Option<&Path>) -> Result<()> {
    let mut findings = Findings::default();
    for file in sources(&shell::root())? {
        findings.look_at(&file)?;
    }
    findings.settings_are_told(server)?;
    findings.routes_are_described()?;
    findings.bans_are_repeated()?;
    findings.0.extend(layers::findings()?);
    findings.0.extend(vocabulary::findings()?);
    for finding in &findings.0 {
        println!("{finding}");
    }
    match findings.0.len() {
        0 => Ok(()),
        count => bail!("{count} findings against the house rules, listed above"),
    }
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, file: &Path, line: usize, what: &str) {
        self.0.push(format!("{}:{line}: {what}", file.display()));
    }

    /// The rules that look at one file at a time.
    fn look_at(&mut self, file: &Path) -> Result<()> {
        let path = shell::root().join(file);
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        if extension == "rs" && !text.starts_with("//!") {
            self.add(file, 1, "a file opens with `//!` and says what it is for");
        }
        if page_sources(file) {
            for line in debugs(&text) {
                self.add(
                    file,
                    line,
                    "`Debug` writes nothing in the page that is served (xtask/src/panics.rs)",
                );
            }
        }
        for (line, what) in empty_docs(&text) {
            self.add(
                file,
                line,
                &format!("{what:?} says nothing where it is read: say the sentence"),
            );
        }
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(word) = UNFINISHED.iter().find(|word| text.contains(*word)) {
                self.add(file, line, &format!("{word}: finish it, or open an issue"));
            }
            if extension == "rs" && is_long_comment(text) {
                self.add(
                    file,
                    line,
                    &format!("a comment has at most {COMMENT_COLUMNS} columns"),
                );
            }
            if may_not_have_colours(file, text)
                && let Some(colour) = raw_colour(text)
            {
                self.add(
                    file,
                    line,
                    &format!("the colour {colour} belongs into frontend/styles/tokens.css"),
                );
            }
        }
        Ok(())
    }

    fn settings_are_told(&mut self, server: Option<&Path>) -> Result<()> {
        // One that is missing explains nothing, and every setting is told to be missing from it.
        let readme = fs::read_to_string(shell::root().join("README.md")).unwrap_or_default();
        let help = server
            .map(|server| shell::output(Command::new(server).arg("--help")))
            .transpose()?;
        let table = shell::root()
            .join("backend")
            .join("src")
            .join("settings.rs");
        let table = fs::read_to_string(table).context("the table of settings cannot be read")?;
        let promised = SETTINGS
            .iter()
            .flat_map(|(variable, flag)| [*variable, *flag]);
        let promised = promised
            .chain(SETTINGS_WITHOUT_FLAG.iter().copied())
            .map(str::to_owned);
        let mut names: Vec<String> = promised.chain(settings_in(&table)).collect();
        names.sort();
        names.dedup();
        for name in &names {
            if !has_word(&readme, name) {
                self.0
                    .push(format!("README.md: the setting {name} is not explained"));
            }
            if help.as_ref().is_some_and(|help| !has_word(help, name)) {
                self.0.push(format!(
                    "pulseboard --help: the setting {name} is not listed"
                ));
            }
        }
        Ok(())
    }

    /// Every path of the server is in its API description, some test goes there, and `trunk serve`
    /// passes it on.
    fn routes_are_described(&mut self) -> Result<()> {
        let http = shell::root().join("backend").join("src").join("http");
        let table = fs::read_to_string(http.join("routes.rs"))
            .context("the table of routes cannot be read")?;
        let description = fs::read_to_string(http.join("openapi.json"))
            .context("the API description cannot be read")?;
        let trunk = fs::read_to_string(shell::root().join("Trunk.toml"))
            .context("Trunk.toml cannot be read")?;
        let tests: String = sources(&shell::root().join("backend").join("tests"))?
            .into_iter()
            .filter_map(|file| {
                fs::read_to_string(shell::root().join("backend").join("tests").join(file)).ok()
            })
            .collect();
        let routes = routes(&table);
        if routes.is_empty() {
            bail!("the table of routes is not of the form that is looked for");
        }
        for route in &routes {
            // OpenAPI has no word for several segments.
            if !description.contains(&format!("\"{}\"", route.replace("{**", "{"))) {
                self.0.push(format!(
                    "backend/src/http/openapi.json: {route} is not described"
                ));
            }
            // Those with a placeholder are asked for by many names.
            if !route.contains('{') && !tests.contains(route) {
                self.0
                    .push(format!("backend/tests: no test goes through {route}"));
            }
        }
        self.0.extend(
            not_passed_on(&routes, &trunk)
                .into_iter()
                .map(|route| format!("Trunk.toml: no [[proxy]] passes {route} on to the server")),
        );
        Ok(())
    }

    /// A member's `clippy.toml` replaces the one at the top, so it must repeat what stands there.
    fn bans_are_repeated(&mut self) -> Result<()> {
        let bans = |file: &Path| -> Result<Vec<String>> {
            let text = fs::read_to_string(shell::root().join(file))
                .with_context(|| format!("{} cannot be read", file.display()))?;
            Ok(text
                .lines()
                .filter(|line| line.trim().starts_with("{ path ="))
                .map(|line| line.trim().to_owned())
                .collect())
        };
        let everywhere = bans(Path::new("clippy.toml"))?;
        for member in ["frontend/clippy.toml", "shared/clippy.toml"].map(Path::new) {
            let here = bans(member)?;
            for ban in everywhere.iter().filter(|ban| !here.contains(ban)) {
                self.add(
                    member,
                    1,
                    &format!("lacks a ban of the top's clippy.toml: {ban}"),
                );
            }
        }
        Ok(())
    }
}

/// The environment variables and flags in the text of the server's table.
fn settings_in(table: &str) -> Vec<String> {
    let quoted = |line: &str| Some(line.split_once('"')?.1.split_once('"')?.0.to_owned());
    table
        .lines()
        .map(str::trim)
        .filter_map(|line| match line.split_once(": ") {
            Some(("env", value)) => quoted(value),
            Some(("flag", value)) => quoted(value).map(|flag| format!("--{flag}")),
            _ => None,
        })
        .collect()
}

/// The paths in the text of the table of routes.
fn routes(table: &str) -> Vec<String> {
    let rows = table.lines().map(str::trim).filter_map(|line| {
        let row = ["answer(\"", "socket(\"", "events(\""]
            .iter()
            .find_map(|kind| line.strip_prefix(kind))?;
        row.strip_suffix("\"),")
    });
    rows.map(|path| format!("/{path}")).collect()
}

/// Those of these paths that no `backend = …` of Trunk's is a beginning of, up to a slash or whole:
/// Trunk appends what comes behind it.
fn not_passed_on<'a>(routes: &'a [String], trunk: &str) -> Vec<&'a str> {
    let backends: Vec<&str> = trunk
        .lines()
        .filter_map(|line| line.trim().strip_prefix("backend = \""))
        .filter_map(|line| {
            let url = line.strip_suffix('"')?.split_once("://")?.1;
            url.find('/').map(|at| &url[at..])
        })
        .collect();
    let is_passed_on = |route: &str| {
        backends.iter().any(|backend| {
            let folder = backend.trim_end_matches('/');
            route
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let routes = routes.iter().map(String::as_str);
    routes.filter(|route| !is_passed_on(route)).collect()
}

/// Whether a file is compiled into the page and only there; its unit tests may lie in one of their
/// own.
fn page_sources(file: &Path) -> bool {
    let of_page = ["frontend/src", "markup/src"];
    of_page.iter().any(|folder| file.starts_with(folder))
        && file.extension().is_some_and(|extension| extension == "rs")
        && !file.ends_with("tests.rs")
}

/// The lines that write something as programmers see it; a panic may, since its words go anyway,
/// and unit tests, which come last.
fn debugs(source: &str) -> Vec<usize> {
    let lines = (1..).zip(source.lines());
    lines
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| line.contains("?}") && !line.contains("panic!("))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, _)| number)
        .collect()
}

/// Colours are tokens everywhere on the page but where they are defined, and in the document's
/// `theme-color`, which cannot name a token.
fn may_not_have_colours(file: &Path, line: &str) -> bool {
    let page = file.starts_with("frontend") || file == Path::new("index.html");
    page && file != Path::new("frontend/styles/tokens.css") && !line.contains("theme-color")
}

/// The first colour written as a number: `#1a2b3c` or a function such as `rgb(…)`.
fn raw_colour(line: &str) -> Option<String> {
    for (at, _) in line.match_indices('#') {
        // `&#39;` is a character, and `a#fff` the fragment of an address.
        if line[..at].ends_with(|before: char| before == '&' || before.is_alphanumeric()) {
            continue;
        }
        let word: String = line[at + 1..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect();
        if matches!(word.len(), 3 | 4 | 6 | 8) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Some(format!("#{word}"));
        }
    }
    let functions = [
        "rgb(", "rgba(", "hsl(", "hsla(", "hwb(", "lab(", "lch(", "oklab(", "oklch(",
    ];
    functions
        .into_iter()
        .find(|function| has_word(line, function))
        .map(|function| format!("{function}…)"))
}

/// Columns of a line that is a comment.
const COMMENT_COLUMNS: usize = 100;

/// Whether a line is a comment that is too long, which rustfmt leaves alone. A row of a table
/// cannot be broken.
fn is_long_comment(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix("//") else {
        return false;
    };
    let said = rest.trim_start_matches(['/', '!']).trim_start();
    line.chars().count() > COMMENT_COLUMNS && !said.starts_with('|')
}

/// Docs that only point at where they stand: in an editor and on a page of docs that is nothing.
const EMPTY_DOCS: [&str; 3] = ["See the module.", "Likewise.", "As there."];

/// Items whose whole doc is one of [`EMPTY_DOCS`], by line.
fn empty_docs(text: &str) -> Vec<(usize, &'static str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let doc = |line: &str| line.strip_prefix("/// ").map(str::to_owned);
    let is_doc = |at: Option<usize>| {
        at.and_then(|at| lines.get(at))
            .is_some_and(|line| line.starts_with("///"))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let known = doc(line).and_then(|said| EMPTY_DOCS.into_iter().find(|one| *one == said));
        if let Some(known) = known
            && !is_doc(at.checked_sub(1))
            && !is_doc(Some(at + 1))
        {
            found.push((at + 1, known));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_are_too_long_are_found() {
        let words = "é ".repeat(60);
        for long in ["//! ", "    /// ", "// "] {
            let fitting: String = format!("{long}{words}").chars().take(100).collect();
            assert!(!is_long_comment(&fitting), "{fitting}");
            assert!(is_long_comment(&format!("{fitting}x")), "{fitting}");
        }
        for other in ["//! | a row | ", "let text = \"//\"; // ", "code"] {
            assert!(!is_long_comment(&format!("{other}{words}")), "{other}");
        }
    }

    #[test]
    fn docs_that_say_nothing_are_found() {
        let text = "/// See the module.\nstruct A;\n/// Keeps B.\n/// Likewise.\nstruct B;\n    /// Likewise.\n    c: u8,\n";
        assert_eq!(empty_docs(text), [(1, "See the module."), (6, "Likewise.")]);
    }

    #[test]
    fn the_page_writes_nothing_as_programmers_see_it() {
        let source = "fn one() {\n    format!(\"{it:?}\");\n    format!(\"{:#?}\", it);\n    \
                      format!(\"{it}\");\n}\n#[cfg(test)]\nmod tests {\n    // {it:?}\n}\n";
        assert_eq!(debugs(source), [2, 3]);
        assert!(page_sources(Path::new("frontend/src/net/json.rs")));
        for other in [
            "frontend/src/net/feed/tests.rs",
            "frontend/tests/web.rs",
            "backend/src/lib.rs",
            "frontend/src/readme.md",
        ] {
            assert!(!page_sources(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn colours_are_told_from_what_looks_like_them() {
        for colour in [
            "color: #fff;",
            "fill: #1a2B3c",
            "background: rgb(0 0 0 / 50%)",
            "oklch(70% 0.1 200)",
        ] {
            assert!(raw_colour(colour).is_some(), "{colour}");
        }
        for other in [
            "#[derive(Debug)]",
            "href=\"#main\"",
            "&#39;",
            "{:#06x}",
            "color-mix(in srgb, var(--a), transparent)",
            "## A heading",
            "r#\"text\"#",
            "rgb_of(x)",
        ] {
            assert_eq!(raw_colour(other), None, "{other}");
        }
    }

    #[test]
    fn routes_are_read_from_their_table_and_passed_on() {
        let table = "pub const ROUTES: &[Route] = &[\n    answer(\"api/stats\"),\n    \
             socket(\"ws\"),\n    answer(\"write\"),\n];\nconst fn answer(path: &str)";
        let routes = routes(table);
        assert_eq!(routes, ["/api/stats", "/ws", "/write"]);
        let trunk = "[[proxy]]\nbackend = \"http://127.0.0.1:3000/api/\"\n\n[[proxy]]\n\
             backend = \"ws://127.0.0.1:3000/ws\"\nws = true\n";
        assert_eq!(not_passed_on(&routes, trunk), ["/write"]);
    }

    #[test]
    fn settings_are_read_from_their_table() {
        let table = "  a: A {\n    env: \"A_B\",\n    flag: Some(\"a-b\"),\n    flag: None,\n    env: $env,\n";
        assert_eq!(settings_in(table), ["A_B", "--a-b"]);
    }
}
