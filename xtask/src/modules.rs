//! Which file of a crate uses which: the graph that the rules of layers are held against.
//!
//! A module is a file here; what is written inside `mod name { … }` belongs to its file, and
//! what is compiled for tests alone is left out. An arrow goes from a file to the file where the
//! name that it uses *is defined*: a name that a parent only passes on (`pub use`) is followed
//! to its home, so that a parent's table of contents makes no circle. Methods need no `use` and
//! draw no arrow; neither do names that a macro makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// The path of a module from the crate's root, such as `["feed", "cursor"]`; the root is empty.
pub(crate) type Module = Vec<String>;

/// A name that is used: in which module it is written, and its path from the crate's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// All modules of one crate.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    pub(crate) files: BTreeMap<Module, File>,
}

/// One file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) uses: Vec<Use>,
    /// Names passed on from elsewhere, by the name they have here.
    passed_on: BTreeMap<String, Vec<String>>,
    /// Modules all of whose names are passed on.
    globs: Vec<Vec<String>>,
    /// Crates that are named, without the line: `salvo`.
    pub(crate) crates: BTreeMap<String, usize>,
    /// What is defined here, so that the folders' names are told from names in the file.
    defined: BTreeSet<String>,
}

impl Crate {
    /// Reads all files below `src`.
    ///
    /// # Errors
    /// A file cannot be read, or is not Rust.
    pub(crate) fn read(src: &Path) -> Result<Self> {
        let mut found = Self::default();
        let mut folders = vec![src.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs") {
                    let module = module_of(path.strip_prefix(src)?);
                    if module.last().is_some_and(|name| name == "tests") {
                        continue;
                    }
                    let text = fs::read_to_string(&path)?;
                    let file = File::read(&path, &module, &text)
                        .with_context(|| format!("{} cannot be read", path.display()))?;
                    found.files.insert(module, file);
                }
            }
        }
        Ok(found)
    }

    /// The files that a file uses, each with the line where it does so first.
    pub(crate) fn arrows(&self, from: &Module) -> BTreeMap<Module, usize> {
        let mut arrows = BTreeMap::new();
        for used in self.files.get(from).into_iter().flat_map(|file| &file.uses) {
            if let Some(home) = self.home_of(&used.path, 0)
                && home != *from
            {
                arrows.entry(home).or_insert(used.line);
            }
        }
        arrows
    }

    /// The file that defines what a path names.
    fn home_of(&self, path: &[String], depth: usize) -> Option<Module> {
        // Names that are passed on in a ring would be an error of the compiler's.
        if depth > 16 {
            return None;
        }
        let known = (0..=path.len())
            .rev()
            .find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(known);
        let file = self.files.get(module)?;
        let Some(name) = rest.first() else {
            return Some(module.to_vec());
        };
        if !file.defined.contains(name) {
            if let Some(elsewhere) = file.passed_on.get(name) {
                let mut path = elsewhere.clone();
                path.extend_from_slice(&rest[1..]);
                return self.home_of(&path, depth + 1);
            }
            for glob in &file.globs {
                let mut path = glob.clone();
                path.extend_from_slice(rest);
                if self.defines(&path, depth + 1) {
                    return self.home_of(&path, depth + 1);
                }
            }
        }
        Some(module.to_vec())
    }

    fn defines(&self, path: &[String], depth: usize) -> bool {
        let Some((name, module)) = path.split_last() else {
            return false;
        };
        depth <= 16
            && self.files.get(module).is_some_and(|file| {
                file.defined.contains(name) || file.passed_on.contains_key(name)
            })
    }

    /// Files that use each other in a ring, each ring sorted; there should be none.
    pub(crate) fn circles(&self) -> Vec<Vec<Module>> {
        let reach: BTreeMap<&Module, BTreeSet<Module>> = self
            .files
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut circles = BTreeSet::new();
        for (module, reached) in &reach {
            if reached.contains(*module) {
                let ring: Vec<Module> = reached
                    .iter()
                    .filter(|other| reach[*other].contains(*module))
                    .cloned()
                    .collect();
                circles.insert(ring);
            }
        }
        circles.into_iter().collect()
    }

    fn reachable(&self, from: &Module) -> BTreeSet<Module> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from.clone()];
        while let Some(module) = waiting.pop() {
            for next in self.arrows(&module).into_keys() {
                if reached.insert(next.clone()) {
                    waiting.push(next);
                }
            }
        }
        reached
    }
}

impl File {
    /// Reads one file's text.
    ///
    /// # Errors
    /// It is not Rust.
    pub(crate) fn read(path: &Path, module: &Module, text: &str) -> Result<Self> {
        let parsed = syn::parse_file(text)?;
        let mut file = Self {
            path: path.to_path_buf(),
            ..Self::default()
        };
        for item in &parsed.items {
            file.defined.extend(name_of(item));
        }
        let mut reader = Reader {
            file,
            module: module.clone(),
            children: children(path),
            inside: 0,
        };
        reader.visit_file(&parsed);
        Ok(reader.file)
    }
}

/// `feed/cursor.rs` is `feed::cursor`; `lib.rs` and `main.rs` are the root.
fn module_of(path: &Path) -> Module {
    let mut module: Module = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module
        .last()
        .is_some_and(|name| matches!(name.as_str(), "lib" | "main" | "mod"))
    {
        module.pop();
    }
    module
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::TraitAlias(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        _ => return None,
    };
    Some(name.to_string())
}

struct Reader {
    file: File,
    module: Module,
    children: BTreeSet<String>,
    /// How many `mod name { … }` are open around what is read.
    inside: usize,
}

impl Reader {
    /// The path from the crate's root of one that is written here; `None` for another crate's.
    fn absolute(&mut self, path: &[String], line: usize) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = self.module.clone();
        let mut rest = rest;
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                let mut up = 1;
                while rest.first().is_some_and(|name| name == "super") {
                    up += 1;
                    rest = &rest[1..];
                }
                // Out of the modules that are written inside the file first.
                for _ in self.inside..up {
                    base.pop()?;
                }
            }
            name => {
                self.file.crates.entry(name.to_owned()).or_insert(line);
                return None;
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn used(&mut self, path: &[String], line: usize) {
        if let Some(path) = self.absolute(path, line) {
            self.file.uses.push(Use { path, line });
        }
    }

    /// All paths that a `use` names, with the name each gets.
    fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) {
        match tree {
            UseTree::Path(path) => {
                let mut before = before.to_vec();
                before.push(path.ident.to_string());
                Self::leaves(&path.tree, &before, found);
            }
            UseTree::Name(name) => {
                let mut path = before.to_vec();
                let name = name.ident.to_string();
                if name != "self" {
                    path.push(name);
                }
                let last = path.last().cloned();
                found.push((path, last));
            }
            UseTree::Rename(rename) => {
                let mut path = before.to_vec();
                if rename.ident != "self" {
                    path.push(rename.ident.to_string());
                }
                found.push((path, Some(rename.rename.to_string())));
            }
            UseTree::Glob(_) => found.push((before.to_vec(), None)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    Self::leaves(tree, before, found);
                }
            }
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.inside += 1;
        visit::visit_item_mod(self, item);
        self.inside -= 1;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let line = item.use_token.span.start().line;
        let mut leaves = Vec::new();
        Self::leaves(&item.tree, &[], &mut leaves);
        let passes_on = self.inside == 0 && !matches!(item.vis, Visibility::Inherited);
        for (path, name) in leaves {
            // A child module may be named without `self::`.
            let path = match path.first() {
                Some(first) if !matches!(first.as_str(), "crate" | "self" | "super") => {
                    let is_child = self.children.contains(first);
                    match is_child {
                        true => [vec!["self".to_owned()], path].concat(),
                        false => path,
                    }
                }
                _ => path,
            };
            match (passes_on, name) {
                (true, Some(name)) => {
                    if let Some(path) = self.absolute(&path, line) {
                        self.file.passed_on.insert(name, path);
                    }
                }
                (true, None) => {
                    if let Some(path) = self.absolute(&path, line) {
                        self.file.globs.push(path);
                    }
                }
                (false, _) => self.used(&path, line),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let line = path
            .segments
            .first()
            .map_or(0, |segment| segment.ident.span().start().line);
        match names.first().map(String::as_str) {
            // Alone it is how far something is seen: `pub(crate)`.
            Some("crate" | "super" | "self") if names.len() > 1 => {
                self.used(&names, line);
            }
            Some(first) if names.len() > 1 && self.children.contains(first) => {
                let names = [vec!["self".to_owned()], names].concat();
                self.used(&names, line);
            }
            Some(first) if names.len() > 1 => {
                self.file.crates.entry(first.to_owned()).or_insert(line);
            }
            _ => {}
        }
        visit::visit_path(self, path);
    }
}

/// The modules that lie as files of their own below this one.
fn children(path: &Path) -> BTreeSet<String> {
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => path.with_file_name(""),
        Some(stem) => path.with_file_name(stem),
    };
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some(path.file_stem()?.to_string_lossy().into_owned())
        })
        .filter(|name| !matches!(name.as_str(), "lib" | "main" | "mod"))
        .collect()
}
