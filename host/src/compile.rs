//! From wasm files to compiled components, by way of the cache.
//!
//! Compiling takes some 150 MB, and an allocator that had them does not return all of them to the system. So a child process
//! compiles what is not in the cache, writes it there and ends; this process maps the files. If there is no cache, or it
//! cannot be written, a temporary directory takes its place until the files are mapped. Only if that fails too, this
//! process compiles, and keeps the memory.
//!
//! Before all of that come the components that were compiled ahead and lie beside the program. Where they do not fit the machine, the version
//! or the flags, the wasm is compiled as if there were none, and one line of the log says why.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::Read as _;
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use clap::Args;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::{self, Ahead, Cache};
use crate::compose::encode;
use crate::engine::{self, Limits};
use crate::temporary;

/// The name of the hidden subcommand that a [`Job`] belongs to.
pub(crate) const SUBCOMMAND: &str = "compile";

/// What a child process compiles.
#[derive(Debug, Args)]
pub(crate) struct Job {
    /// Instances that the engine has room for.
    #[arg(long)]
    instances: u32,
    /// Bytes of memory of each instance.
    #[arg(long)]
    memory: usize,
    /// Whether requests have a time-out.
    #[arg(long)]
    timed: bool,
    /// The cache directory.
    #[arg(long)]
    cache_dir: PathBuf,
    /// The wasm files.
    files: Vec<PathBuf>,
}

impl Job {
    /// Compiles the files, in the child process. Leaves out a file that cannot be compiled: the parent reports it.
    pub(crate) fn run(&self) -> Result<()> {
        // The standard input ends when the parent does, and then the result is not needed.
        std::thread::spawn(|| {
            drop(std::io::stdin().read(&mut [0]));
            std::process::exit(1);
        });
        let engine = engine::engine(Limits { instances: self.instances, memory: self.memory, is_timed: self.timed })?;
        let cache = Cache::open(self.cache_dir.clone())?;
        let failure = OnceLock::new();
        in_parallel(&self.files, |file| {
            // If there was no room for one, there is none for the others.
            if failure.get().is_none() {
                let (digest, component) = compile(&engine, file)?;
                let key = cache::key(&engine, &digest);
                cache.insert(&key, &component).unwrap_or_else(|error| _ = failure.set(error));
            }
            Ok(())
        });
        failure.into_inner().map_or(Ok(()), Err)
    }

    /// Starts the child process and waits for its end.
    fn run_in_child(&self) -> Result<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .args(["--instances", &self.instances.to_string(), "--memory", &self.memory.to_string()])
            .args(self.timed.then_some("--timed"))
            .arg("--cache-dir")
            .arg(&self.cache_dir)
            .arg("--")
            .args(&self.files)
            // The application's secrets may be in the environment.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        // `wait` closes an input that the child still has, and a closed one ends the child.
        let input = child.stdin.take();
        let status = child.wait()?;
        drop(input);
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// Compiles components for machines like this one. A host that has them in the folder `compiled` beside it need not.
#[derive(Debug, Args)]
pub(crate) struct CompileAhead {
    /// The folder to make. It must not be there yet.
    #[arg(long)]
    into: PathBuf,
    /// The wasm files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl CompileAhead {
    /// Compiles the files for a host with its usual flags.
    pub(crate) fn run(&self) -> Result<()> {
        // Only `is_timed` has a part in what is compiled.
        let engine = engine::engine(Limits { instances: 1, memory: 1 << 30, is_timed: false })?;
        let folder = &self.into;
        let made = DirBuilder::new().mode(0o755).create(folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        let written = in_parallel(&self.files, |file| {
            let (digest, component) = compile(&engine, file)?;
            Ahead::write(folder, &digest, &component)
        });
        written.into_iter().collect::<Result<(), String>>().map_err(Error::msg)
    }
}

/// A wasm file and its digest.
struct Source {
    path: PathBuf,
    digest: String,
}

/// Wasm files by their digests: several components may have the same file.
type Missing<'a> = BTreeMap<&'a str, &'a Path>;
/// Components by the same digests, or why there is none.
type Loaded<'a> = BTreeMap<&'a str, Result<Component, String>>;

/// Loads the components in these files, in the same order. Those that neither were compiled ahead nor are in the cache are compiled first.
pub(crate) fn load(
    engine: &Engine,
    limits: Limits,
    ahead: Option<&Ahead>,
    cache: Option<&Cache>,
    files: &[PathBuf],
) -> Vec<Result<Component>> {
    let source = |file: &PathBuf| Ok(Source { path: file.clone(), digest: cache::digest(&read(file)?) });
    let sources = in_parallel(files, source);
    let mut missing: Missing<'_> =
        sources.iter().flatten().map(|source| (source.digest.as_str(), source.path.as_path())).collect();
    let mut loaded = Loaded::new();
    if let Some(ahead) = ahead {
        find_ahead(ahead, engine, &mut missing, &mut loaded);
    }
    if let Some(cache) = cache {
        load_from(cache, engine, limits, &mut missing, &mut loaded);
    }
    if !missing.is_empty()
        && let Ok(directory) = temporary::directory()
        && let Ok(cache) = Cache::open(directory.path().to_owned())
    {
        load_from(&cache, engine, limits, &mut missing, &mut loaded);
    }
    let missing: Vec<_> = missing.into_iter().collect();
    let compiled = in_parallel(&missing, |(_, path)| compile(engine, path).map(|(_, component)| component));
    loaded.extend(missing.iter().map(|(digest, _)| *digest).zip(compiled));
    let component = |source: &Result<Source, String>| match source {
        Ok(source) => loaded.get(source.digest.as_str()).cloned().unwrap_or_else(|| Err("was not compiled".to_owned())),
        Err(error) => Err(error.clone()),
    };
    sources.iter().map(|source| component(source).map_err(Error::msg)).collect()
}

/// Moves components from `missing` to `loaded`: those in the cache, and those that a child process can compile into it.
fn load_from<'a>(cache: &Cache, engine: &Engine, limits: Limits, missing: &mut Missing<'a>, loaded: &mut Loaded<'a>) {
    find_in(cache, engine, missing, loaded);
    if missing.is_empty() {
        return;
    }
    let job = Job {
        instances: limits.instances,
        memory: limits.memory,
        timed: limits.is_timed,
        cache_dir: cache.directory().to_owned(),
        files: missing.values().map(|path| (*path).to_owned()).collect(),
    };
    if let Err(error) = job.run_in_child() {
        say!("accredit-host: the process that compiles into {} failed: {error:#}", job.cache_dir.display());
    }
    find_in(cache, engine, missing, loaded);
}

fn find_in<'a>(cache: &Cache, engine: &Engine, missing: &mut Missing<'a>, loaded: &mut Loaded<'a>) {
    missing.retain(|digest, _| {
        let found = cache.find(engine, &cache::key(engine, digest));
        let is_missing = found.is_none();
        loaded.extend(found.map(|component| (*digest, Ok(component))));
        is_missing
    });
}

/// Moves components that were compiled ahead from `missing` to `loaded`. Those that cannot be used here stay; all have the same reason.
fn find_ahead<'a>(ahead: &Ahead, engine: &Engine, missing: &mut Missing<'a>, loaded: &mut Loaded<'a>) {
    let mut refused = None;
    missing.retain(|digest, _| match ahead.find(engine, digest) {
        Some(Ok(component)) => {
            loaded.insert(digest, Ok(component));
            false
        }
        Some(Err(error)) => {
            refused.get_or_insert(error);
            true
        }
        None => true,
    });
    if let Some(error) = refused {
        say!(
            "accredit-host: components that were compiled ahead are not used here, so their wasm is compiled: {error:#}"
        );
    }
}

/// Compiles a wasm file, and returns its digest too.
fn compile(engine: &Engine, path: &Path) -> Result<(String, Component)> {
    let wasm = read(path)?;
    let digest = cache::digest(&wasm);
    let wasm = encode(wasm).with_context(|| format!("cannot make a component of {}", path.display()))?;
    let component =
        Component::new(engine, &wasm).map_err(|error| anyhow!("cannot compile {}: {error:?}", path.display()))?;
    Ok((digest, component))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The results of `work` for each item, in the items' order. It has a thread for each processor, not for each item: each
/// compilation takes some 50 MB.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Vec<Result<R, String>> {
    let queue = Mutex::new(items.iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let attempt = |item| match catch_unwind(AssertUnwindSafe(|| work(item))) {
        Ok(result) => result.map_err(|error| format!("{error:#}")),
        Err(_) => Err("the compiler panicked".to_owned()),
    };
    let run = || std::iter::from_fn(next).map(|(place, item)| (place, attempt(item))).collect::<Vec<_>>();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn results_have_the_order_of_their_items_and_a_panic_is_the_error_of_its_own_item() {
        let work = |item: &u32| match item {
            7 => bail!("seven"),
            8 => panic!("for this test"),
            _ => Ok(item * 2),
        };
        let results = in_parallel(&(0..100).collect::<Vec<_>>(), work);
        assert_eq!(results.len(), 100);
        assert_eq!((&results[6], &results[99]), (&Ok(12), &Ok(198)));
        assert_eq!(results[7], Err("seven".to_owned()));
        assert_eq!(results[8], Err("the compiler panicked".to_owned()));
    }
}
