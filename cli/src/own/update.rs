//! `self update`: replaces this program by the one that the server hands out, once size and digest are right, and in one move.

use std::{
    fs::File,
    io::{Read as _, Write as _},
};

use clap::ArgMatches;
use common::route;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::{
    context::Context,
    fail::{Exit, Failure, of_file},
    http::{Call, Client},
    pages::list,
    show,
};

/// The largest program that is taken, bytes.
const MOST: u64 = 256 << 20;

pub(super) fn update(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    // The files are public: no credential is sent for them.
    let client = Client::new(context.settings.server()?, None, context.patience)?;
    let manifest = client.call(route::CLI_MANIFEST, Call::default())?.json;
    let version = text(&manifest, "version");
    let program = list(&manifest, "files").iter().find(|file| is_for_here(file)).ok_or_else(|| {
        let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        Failure::new(Exit::Refused, format!("{} has no program for {platform}.", client.url.as_str()))
    })?;
    let own = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(of_file("this program"))?;
    let is_same = digest(File::open(&own).map_err(of_file(own.display()))?)? == text(program, "sha256");
    if context.is_json {
        show::json(&json!({ "version": env!("CARGO_PKG_VERSION"), "offered": version, "is_same": is_same }));
    }
    if is_same || typed.get_flag("check") {
        if !context.is_json {
            let what = if is_same { "is what the server hands out" } else { "is another one than" };
            let offered =
                if is_same { String::new() } else { format!(" {}, which the server hands out", show::line(&version)) };
            show::out(&format!("accredit {} {what}{offered}.", env!("CARGO_PKG_VERSION")));
        }
        return Ok(u8::from(!is_same));
    }
    if own.ancestors().nth(2).is_some_and(|environment| environment.join("pyvenv.cfg").exists()) {
        return Err(Failure::new(Exit::Refused, format!("{} was installed as a Python package.", own.display())).fix(
            "Upgrade it as one: uv tool upgrade accredit, or pip install --upgrade accredit in its environment.",
        ));
    }
    // Beside the program, so that the last step is a move within one file system.
    let part = own.with_file_name(format!(".accredit-part-{}", std::process::id()));
    let replaced =
        fetch(&client, program, &part).and_then(|()| self_replace::self_replace(&part).map_err(of_file(own.display())));
    drop(std::fs::remove_file(&part));
    replaced?;
    if !context.is_json {
        show::out(&format!("Updated {} to {}.", own.display(), show::line(&version)));
    }
    Ok(0)
}

fn text(json: &Json, name: &str) -> String {
    json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn is_for_here(file: &Json) -> bool {
    let platform = file.get("platform").unwrap_or(&Json::Null);
    text(file, "kind") == "binary"
        && text(platform, "os") == std::env::consts::OS
        && text(platform, "arch") == std::env::consts::ARCH
}

/// Downloads the program into a file, and refuses it unless it is what the manifest says.
fn fetch(client: &Client, program: &Json, part: &std::path::Path) -> Result<(), Failure> {
    let wrong = |what: &str| {
        Failure::new(Exit::Refused, format!("The downloaded file has another {what}. Nothing was changed."))
    };
    let size = program.get("size").and_then(Json::as_u64).filter(|size| (1..=MOST).contains(size));
    let size = size.ok_or_else(|| Failure::unreachable("The server's manifest names no size."))?;
    let mut body = client.download(&text(program, "url"))?;
    // One of an update that was killed, under the number of a process that came again.
    drop(std::fs::remove_file(part));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o755);
    let mut file = options.open(part).map_err(|error| {
        let folder = part.parent().unwrap_or(part).display();
        of_file(folder)(error).fix("Run it as the owner of this directory, or install the program into one of yours.")
    })?;
    let bar = show::bar(size);
    let mut reader = body.as_reader().take(size + 1);
    let (mut buffer, mut hash, mut length) = (vec![0_u8; 64 * 1024], Sha256::new(), 0);
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|error| Failure::unreachable(format!("The download broke off: {error}")))?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        hash.update(piece);
        file.write_all(piece).map_err(of_file(part.display()))?;
        length += piece.len() as u64;
        bar.set_position(length);
    }
    bar.finish_and_clear();
    if length != size {
        return Err(wrong("size"));
    }
    if hex(&hash.finalize()) != text(program, "sha256") {
        return Err(wrong("SHA-256"));
    }
    file.sync_all().map_err(of_file(part.display()))
}

fn digest(mut file: File) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(of_file("this program"))?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        hash.update(piece);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
