//! `dist`: what is put on a content delivery network and on a server apart from it.
//!
//! `target/dist/spa` is the page as plain files, with its backend's address in `config.json` and
//! a `_headers` file that Netlify and Cloudflare Pages read as it is and that tells any other
//! host what to send. `target/dist/pulseboard` is the server without the page.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};

use crate::{build, page, shell};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let backend = match arguments {
        [] => String::new(),
        [flag, url] if flag == "--backend" => checked_backend(url)?,
        [one] if one.starts_with("--backend=") => {
            checked_backend(one.trim_start_matches("--backend="))?
        }
        _ => bail!("`cargo xtask dist` takes `--backend URL` and nothing else"),
    };
    page::build()?;
    let spa = shell::target().join("dist").join("spa");
    shell::remove(&spa)?;
    fs::create_dir_all(&spa)?;
    page::publish(&page::dist(), &spa)?;
    configure(&spa, &backend)?;
    let index = fs::read_to_string(spa.join("index.html"))?;
    fs::write(spa.join("_headers"), headers(&spa, &index, &backend)?)?;
    let server = server_alone()?;
    println!("\n{} is the page", spa.display());
    if backend.is_empty() {
        println!(
            "  It looks for its backend where it is served from; `--backend URL` names another one."
        );
    } else {
        println!(
            "  Its backend is {backend}, started with `--allowed-origins` and the page's own address."
        );
    }
    build::report(&spa, &server)
}

/// An address as the page wants it: http or https, a host, and no slash at the end.
fn checked_backend(url: &str) -> Result<String> {
    let url = url.trim_end_matches('/');
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let valid = host.is_some_and(|host| !host.is_empty())
        && !url.contains(|c: char| c.is_whitespace() || "\"';,?#".contains(c));
    if !valid {
        bail!("--backend {url:?}: expected an address such as https://pulse.example.org");
    }
    Ok(url.to_owned())
}

/// Writes the backend's address into `config.json` and leaves its other keys as they are.
fn configure(spa: &Path, backend: &str) -> Result<()> {
    let file = spa.join("config.json");
    let text = fs::read_to_string(&file).context("the page has no config.json")?;
    let mut config: serde_json::Value =
        serde_json::from_str(&text).context("config.json is not JSON")?;
    config["backend"] = backend.into();
    fs::write(&file, format!("{config:#}\n"))?;
    for stale in ["config.json.br", "config.json.gz"] {
        fs::remove_file(spa.join(stale)).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    // The file is too small for a compressed variant to be worth a request.
    Ok(())
}

/// The headers to serve the page with, in the `_headers` format.
fn headers(spa: &Path, index: &str, backend: &str) -> Result<String> {
    let mut text = format!(
        "# Another backend in config.json must also stand here, behind connect-src.\n\
         /*\n  Content-Security-Policy: {}\n  X-Content-Type-Options: nosniff\n  Referrer-Policy: no-referrer\n  \
         Cross-Origin-Opener-Policy: same-origin\n",
        content_security_policy(index, backend)
    );
    // Every file by its name: where two patterns match, hosts join the values of a header.
    for file in page::files(spa)? {
        let name = file.strip_prefix(spa)?.to_string_lossy().replace('\\', "/");
        if name == "_headers" || name.ends_with(".br") || name.ends_with(".gz") {
            continue;
        }
        let keep = if page::hash_in(&name).is_some() {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        text.push_str(&format!("/{name}\n  Cache-Control: {keep}\n"));
        if name == "index.html" {
            text.push_str(&format!("/\n  Cache-Control: {keep}\n"));
        }
    }
    Ok(text)
}

/// What the page may do: run its own scripts and no others, and speak to its backend. The same
/// as the server says of the page inside it, but for the backend's address.
fn content_security_policy(index: &str, backend: &str) -> String {
    let scripts: String = inline_scripts(index)
        .map(|script| {
            format!(
                " 'sha256-{}'",
                BASE64.encode(Sha256::digest(script.as_bytes()))
            )
        })
        .collect();
    let connect = match backend.split_once("://") {
        None => String::new(),
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            // WebSockets are the same scheme with other letters: http is ws, https is wss.
            format!(
                " {scheme}://{host} {}://{host}",
                scheme.replace("http", "ws")
            )
        }
    };
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'{connect}; manifest-src 'self'; \
         base-uri 'self'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    )
}

/// The text of each `<script>` that has no `src`, byte for byte.
fn inline_scripts(html: &str) -> impl Iterator<Item = &str> {
    html.split("<script").skip(1).filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (script, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=")).then_some(script)
    })
}

/// Builds the server without the page and returns where it lies.
fn server_alone() -> Result<std::path::PathBuf> {
    let built = shell::server_binary();
    let result = shell::target()
        .join("dist")
        .join(built.file_name().unwrap_or_default());
    let aside = built.with_extension("aside");
    // Both variants are linked to the same place; the one with the page goes back to it.
    let had_one = fs::rename(&built, &aside).is_ok();
    let outcome = shell::run(shell::cargo().args([
        "build",
        "--release",
        "--package",
        "pulseboard",
        "--no-default-features",
    ]))
    .and_then(|()| Ok(fs::copy(&built, &result)?));
    if had_one {
        fs::rename(&aside, &built)?;
    }
    outcome.context("the server without the page could not be built")?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_without_a_source_are_inline() {
        let html = "<script type=\"module\">\nrun();\n</script><script src=\"/a.js\"></script><script>b()</script>";
        assert_eq!(
            inline_scripts(html).collect::<Vec<_>>(),
            ["\nrun();\n", "b()"]
        );
    }

    #[test]
    fn the_policy_names_the_script_and_both_of_the_backends_origins() {
        let policy =
            content_security_policy("<script>alert(1)</script>", "https://pulse.example.org/sub");
        // The hash that browsers print for this very script.
        assert!(
            policy.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"),
            "{policy}"
        );
        assert!(
            policy
                .contains("connect-src 'self' https://pulse.example.org wss://pulse.example.org;"),
            "{policy}"
        );
    }

    #[test]
    fn a_backend_is_an_address_and_nothing_else() {
        assert_eq!(
            checked_backend("http://127.0.0.1:3000/").ok().as_deref(),
            Some("http://127.0.0.1:3000")
        );
        for bad in [
            "",
            "pulse.example.org",
            "ftp://x",
            "https://",
            "https://a b",
            "https://a'; script-src *",
        ] {
            assert!(checked_backend(bad).is_err(), "{bad:?}");
        }
    }
}
