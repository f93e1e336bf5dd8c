//! The layers of the crate: a module imports what is below it, and nothing above.
//!
//! `LAYERS` is the order of `src/redis`, lowest first. A new file takes its place in it. Paths are
//! read from `use` items, from qualified paths in the code and from the tokens of macros;
//! `#[cfg(test)]` modules may import what they like.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use syn::visit::{self, Visit};
use syn::{Attribute, File, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// The modules of `src/redis`, lowest first. A name that ends in `/` is a folder; its files, and
/// the modules of one line, may import each other.
const LAYERS: &[&str] = &[
    // Ground: no feature, and nothing of one server's state.
    "slots",
    "args",
    "keys/encode",
    "keys/member",
    "keys/reference",
    "keys/thread",
    "keys/keyspace",
    "keys/compact",
    "keys",
    "progress",
    "document",
    "encryption_keys",
    "compact/digest",
    "compact/damage",
    "compact/cursor",
    "compact/ids",
    "compact/compress",
    "compact/seal",
    "compact/part",
    "compact/rope",
    "compact/value",
    "compact/cut",
    "compact/head",
    "compact/record",
    "compact/cache",
    "compact/codec",
    "compact/reader",
    "compact",
    "compact/fuzzing",
    "credentials",
    "url",
    "config",
    "error/kind",
    "error/words",
    "error",
    "driver/",
    "replies",
    "search_state",
    // Session: what all calls of a saver share, and how scripts are run.
    "scripts/",
    "session",
    "nonatomic/",
    "recent",
    "store",
    // Features.
    "names",
    "resharding",
    "scan",
    "index/query",
    "index/schema",
    "index/info",
    "index/state",
    "index/rows",
    "index/compare",
    "index/all",
    "index/thread",
    "index/upkeep",
    "index",
    "marker",
    "setup",
    "registry/ids",
    "registry/members",
    "registry/reconcile",
    "registry/namespaces",
    "registry",
    "ttl",
    "blobs",
    "thread_ttl",
    "read",
    "staged",
    "remove",
    "put",
    "history",
    "list/heads",
    "list/indexed",
    "list/page",
    "list",
    "thread_walk",
    "threads",
    "blob_gc",
    "copy",
    "unregistered",
    "delete",
    "runs",
    "prune",
    "memory_usage",
    "stats",
    "thread_size",
    "transfer/checkpoints",
    "transfer/blobs",
    "transfer",
    "doctor/report",
    "doctor/idle",
    "doctor/run",
    "doctor/named",
    "doctor/indexes",
    "doctor/shared",
    "doctor/writes",
    "doctor/documents",
    "doctor/registries",
    "doctor/blobs",
    "doctor/namespaces",
    "doctor/recent",
    "doctor",
    "reseal",
    "with_blobs",
    // Savers, and what is made of them.
    "layout",
    "json",
    "compact_saver/",
    "saver",
    "diagnostics",
    "blob_api",
    "cli_api",
    "shallow/place",
    "shallow/list",
    "shallow/maintain",
    "shallow",
    "builder",
    "fuzzing",
    "mod",
];

/// The front ends, the saver for Redis and the properties that fuzzing checks of it, which nothing
/// else of the crate may import.
const OUTER: &[&str] = &["redis", "inspector", "server", "cli", "fuzzing"];

/// The only modules outside of [`OUTER`] that may import each other.
const ACQUAINTED: &[&str] = &["checkpoint", "config"];

/// Read once for all tests.
static SOURCES: LazyLock<Sources> = LazyLock::new(Sources::read);

#[test]
fn modules_of_the_redis_saver_import_downwards() {
    let sources = &*SOURCES;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, source) in &sources.0 {
        let Some(importer) = in_redis(module) else {
            continue;
        };
        let Some(place) = layer(&importer) else {
            wrong.push(format!("{} is in no layer", source.file.display()));
            continue;
        };
        seen.insert(place);
        for imported in &source.imports {
            let Some(imported_name) = in_redis(imported) else {
                continue;
            };
            let below = layer(&imported_name);
            let is_group = LAYERS[place].contains(' ') || LAYERS[place].ends_with('/');
            if below.is_none_or(|below| below > place || (below == place && !is_group)) {
                wrong.push(format!(
                    "{} imports {}, which is above it",
                    source.file.display(),
                    sources.0[imported].file.display()
                ));
            }
        }
    }
    for (place, layer) in LAYERS.iter().enumerate() {
        if !seen.contains(&place) {
            wrong.push(format!("`{layer}` is a layer and no file"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_core_imports_neither_redis_nor_a_front_end() {
    let sources = &*SOURCES;
    let mut wrong = Vec::new();
    for (module, source) in &sources.0 {
        let is_core = module.first().is_some_and(|first| {
            !OUTER.contains(&first.as_str()) && !["bin", "bench"].contains(&first.as_str())
        });
        for imported in source.imports.iter().filter(|_| is_core) {
            let outer = imported
                .first()
                .filter(|first| OUTER.contains(&first.as_str()));
            if outer.is_some() {
                wrong.push(format!(
                    "{} imports {}",
                    source.file.display(),
                    sources.0[imported].file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn modules_of_the_core_form_no_circle() {
    let sources = &*SOURCES;
    // Folders as wholes: what is inside is for the two tests above, or for one folder alone.
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, source) in &sources.0 {
        let Some(importer) = module.first() else {
            continue;
        };
        let below = graph.entry(importer).or_default();
        below.extend(source.imports.iter().filter_map(|path| {
            let other = path.first()?.as_str();
            let known = ACQUAINTED.contains(&importer.as_str()) && ACQUAINTED.contains(&other);
            (other != importer && !known).then_some(other)
        }));
    }
    // What imports nothing that is left can be taken away; a circle stays.
    while let Some(done) = graph
        .iter()
        .find(|(_, imports)| imports.iter().all(|one| !graph.contains_key(one)))
        .map(|(module, _)| *module)
    {
        graph.remove(done);
    }
    assert!(graph.is_empty(), "these import each other: {graph:#?}");
}

/// A module as the names that lead to it from the root of the crate.
type Module = Vec<String>;

struct Source {
    file: PathBuf,
    imports: BTreeSet<Module>,
}

struct Sources(BTreeMap<Module, Source>);

impl Sources {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        rust_files(&root.join("src"), &mut files);
        let mut parsed = BTreeMap::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let syntax = syn::parse_file(&text).unwrap();
            let short = file.strip_prefix(root).unwrap().to_owned();
            parsed.insert(module_of(&short), (short, syntax));
        }
        for module in tests_of(&parsed) {
            parsed.remove(&module);
        }
        let modules: BTreeSet<Module> = parsed.keys().cloned().collect();
        let sources = parsed.into_iter().map(|(module, (file, syntax))| {
            let mut imports = Imports {
                modules: &modules,
                at: module.clone(),
                found: BTreeSet::new(),
            };
            imports.visit_file(&syntax);
            let mut imports = imports.found;
            imports.remove(&module);
            (module, Source { file, imports })
        });
        Self(sources.collect())
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn module_of(file: &Path) -> Module {
    let mut module: Module = file
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if module
        .last()
        .is_some_and(|last| ["mod", "lib"].contains(&last.as_str()))
    {
        module.pop();
    }
    module
}

/// The modules in files of their own that are compiled for tests only.
fn tests_of(parsed: &BTreeMap<Module, (PathBuf, File)>) -> Vec<Module> {
    let mut found = Vec::new();
    for (module, (_, syntax)) in parsed {
        for item in &syntax.items {
            if let syn::Item::Mod(item) = item
                && is_for_tests(&item.attrs)
            {
                let mut child = module.clone();
                child.push(item.ident.to_string());
                found.push(child);
            }
        }
    }
    found
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

/// Finds the modules of the crate that a file names.
struct Imports<'a> {
    modules: &'a BTreeSet<Module>,
    /// The module that is read, with the inline modules that it is in.
    at: Module,
    found: BTreeSet<Module>,
}

impl Imports<'_> {
    /// Takes note of a path as it is written.
    fn path(&mut self, written: &[String]) {
        let Some(first) = written.first() else {
            return;
        };
        let mut path = match first.as_str() {
            "crate" => Vec::new(),
            "super" | "self" => self.at.clone(),
            child => {
                let mut path = self.at.clone();
                path.push(child.to_owned());
                if !self.modules.contains(&path) {
                    return;
                }
                path.pop();
                path
            }
        };
        for name in written {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => {
                    path.pop();
                }
                name => path.push(name.to_owned()),
            }
        }
        // The file that the path ends in: what follows is an item of it.
        while !self.modules.contains(&path) {
            if path.pop().is_none() {
                return;
            }
        }
        if !path.is_empty() {
            self.found.insert(path);
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before);
                }
            }
            UseTree::Name(name) => self.leaf(&name.ident, before),
            UseTree::Rename(name) => self.leaf(&name.ident, before),
            UseTree::Glob(_) => self.path(before),
        }
    }

    fn leaf(&mut self, name: &syn::Ident, before: &mut Vec<String>) {
        before.push(name.to_string());
        self.path(before);
        before.pop();
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.at.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    /// `pub(in crate::redis)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if names.len() > 1 {
            self.path(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        // Tokens are written with blanks between them: `crate :: redis :: keys`.
        let text = call.tokens.to_string();
        let tokens: Vec<_> = text.split_whitespace().collect();
        for (position, token) in tokens.iter().enumerate() {
            let starts = ["crate", "super"].contains(token)
                && (position == 0 || tokens[position - 1] != "::");
            if !starts {
                continue;
            }
            let mut names = vec![(*token).to_owned()];
            for pair in tokens[position + 1..].chunks(2) {
                match pair {
                    ["::", name] => names.push((*name).to_owned()),
                    _ => break,
                }
            }
            self.path(&names);
        }
        visit::visit_macro(self, call);
    }
}

/// The name of a module of `src/redis` in [`LAYERS`].
fn in_redis(module: &[String]) -> Option<String> {
    match module {
        [redis] if redis == "redis" => Some("mod".to_owned()),
        [redis, rest @ ..] if redis == "redis" => Some(rest.join("/")),
        _ => None,
    }
}

fn layer(name: &str) -> Option<usize> {
    let is_in = |layer: &str| match layer.strip_suffix('/') {
        Some(folder) => {
            let rest = name.strip_prefix(folder);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        None => layer == name,
    };
    LAYERS.iter().position(|layer| layer.split(' ').any(is_in))
}
