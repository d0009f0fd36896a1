//! Takes the page apart: what is loaded when it is opened (`frontend/src/late.rs`) becomes a file
//! of its own, which shares memory, stack and table of functions with the page.
//!
//! It is done on what the linker wrote, which with `--emit-relocs` says what refers to what, before
//! wasm-bindgen writes the script for what is left. Trunk knows nothing of it: what it wrote is
//! replaced, under the same names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use wasm_split_cli_support::{Options, transform};

use crate::{shell, type_ids};

/// What the part is called, in its split point and in the name of its file.
const PART: &str = "late";

/// Where wasm-bindgen is told that the function comes from which loads the part. It writes an
/// import of this file into the script, in place of which the function itself is put.
const LINK: &str = "./split.js";

/// Replaces the page's only WebAssembly and its script by those of what is needed at first, and
/// lays the rest beside them.
///
/// # Errors
/// The page was not linked as it is to be, or wasm-bindgen cannot read what is left.
pub(crate) fn apart(stage: &Path, script: &Path, wasm: &Path) -> Result<()> {
    let linked =
        shell::target().join("wasm32-unknown-unknown/wasm-release/pulseboard-frontend.wasm");
    let bytes =
        fs::read(&linked).with_context(|| format!("{} cannot be read", linked.display()))?;
    // Both parts are to have the same numbers.
    let (numbered, types) = type_ids::number(&bytes)?;
    if types == 0 {
        println!("note: no type was found in the page, so they keep their long numbers");
    }
    let folder = shell::target().join("page.split");
    shell::remove(&folder)?;
    let main = folder.join("main.wasm");
    let mut options = Options::new(&numbered);
    options.output_dir = &folder;
    options.main_out_path = &main;
    options.link_name = LINK;
    let parts = transform(options)
        .map_err(|error| anyhow!("{error:#}"))
        .context("the page could not be taken apart")?;
    let [part] = parts.split_modules.as_slice() else {
        bail!(
            "the page is to have one part, and has {}",
            parts.split_modules.len()
        );
    };

    let name = shell::file_name(script);
    let stem = name.strip_suffix(".js").unwrap_or(&name);
    let bound = folder.join("bound");
    shell::run(
        shell::command("wasm-bindgen")
            .args(["--target", "web", "--no-typescript", "--out-name", stem])
            // The table of functions is one of them, which the part needs.
            .arg("--keep-lld-exports")
            .arg("--out-dir")
            .arg(&bound)
            .arg(&main),
    )?;
    fs::copy(bound.join(format!("{stem}_bg.wasm")), wasm)?;
    fs::copy(bound.join(&name), script)?;
    fs::copy(part, part_beside(stage, stem))?;
    Ok(())
}

fn part_beside(stage: &Path, stem: &str) -> PathBuf {
    stage.join(format!("{stem}_{PART}.wasm"))
}

/// The end of the names of files that are loaded only when something of them is opened.
pub(crate) const END: &str = "_late";

/// Whether a file is loaded only when something of it is opened.
pub(crate) fn is_part(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().ends_with(END)
}

/// The script with the function that loads the part from `file`, beside the script, and the style
/// sheet of the part from `sheet` before it, so that nothing is seen without its style. It says
/// what the server answered in `data-late` of the document's root, since a function of WebAssembly
/// that has two parameters has no room for more.
///
/// # Errors
/// The script takes no such function.
pub(crate) fn with_loader(script: &str, file: &str, sheet: &str) -> Result<String> {
    let import = script
        .lines()
        .find(|line| line.starts_with("import") && line.contains(LINK))
        .context("the page's script does not load its part")?;
    let name = import
        .split_whitespace()
        .skip_while(|word| *word != "as")
        .nth(1)
        .context("the part's loader has no name in the script")?;
    // `wasm` is what WebAssembly gives, and `__wbg_load` the function that makes it of an answer.
    for needed in ["let wasm", "function __wbg_load("] {
        if !script.contains(needed) {
            bail!("the page's script has no `{needed}` any more, which loads its part");
        }
    }
    // Whoever comes for another view than the overview has it loaded beside the page.
    let loader = format!(
        "const late=new URL('{file}',import.meta.url);\n\
         let early=/^#\\/./.test(location.hash)&&fetch(late);\n\
         early&&early.catch(()=>0);\n\
         const styled=()=>new Promise((done,fail)=>{{\n\
         const link=document.createElement('link');\n\
         link.rel='stylesheet';\n\
         link.href=new URL('{sheet}',import.meta.url);\n\
         link.onload=done;\n\
         link.onerror=()=>{{link.remove();fail(link.href)}};\n\
         document.head.append(link)\n\
         }});\n\
         let style;\n\
         const {name}={{__wasm_split_load_{PART}:async(done,data)=>{{\n\
         let loaded=0;\n\
         const said=document.documentElement.dataset;\n\
         delete said.late;\n\
         try{{\n\
         const worn=style||(style=styled());\n\
         worn.catch(()=>style=0);\n\
         const answer=await(early||fetch(late));\n\
         said.late=answer.status;\n\
         if(!answer.ok)throw new Error(answer.url);\n\
         await worn;\n\
         await __wbg_load(answer,{{__wasm_split:wasm}});\n\
         loaded=1;\n\
         }}catch(error){{console.warn(error)}}\n\
         early=0;\n\
         wasm.__indirect_function_table.get(done)(data,loaded);\n\
         }}}};"
    );
    Ok(script.replacen(import, &loader, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_stands_where_its_file_was_imported() -> Result<()> {
        let script = "import * as import1 from \"./split.js\"\nlet wasm;\nfunction __wbg_load(a,b) {}\nx(import1);\n";
        let sheet = "page-fedcba9876543210_late.css";
        let loaded = with_loader(script, "page-0123456789abcdef_late.wasm", sheet)?;
        let file = "const late=new URL('page-0123456789abcdef_late.wasm',import.meta.url);\n";
        assert!(loaded.starts_with(file));
        assert!(loaded.contains("\nconst import1={__wasm_split_load_late:async(done,data)=>{\n"));
        assert!(loaded.ends_with("};\nlet wasm;\nfunction __wbg_load(a,b) {}\nx(import1);\n"));
        assert!(loaded.contains(sheet));
        assert!(with_loader("let wasm;", "x", sheet).is_err());
        assert!(with_loader(&script.replace("__wbg_load", "other"), "x", sheet).is_err());
        assert!(is_part(Path::new("dist/page-0123456789abcdef_late.wasm")));
        assert!(is_part(Path::new("dist/page-0123456789abcdef_late.css")));
        assert!(!is_part(Path::new("dist/page-0123456789abcdef_bg.wasm")));
        Ok(())
    }
}
