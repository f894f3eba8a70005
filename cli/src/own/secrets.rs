//! `secrets exec`, `secrets write` and lines for docker: the secrets of an agent into the environment of a program, or into files.

use std::{collections::BTreeMap, ffi::OsString, path::Path, process::Command};

use clap::ArgMatches;
use common::{
    agent_secret::{SecretName, SecretValue},
    route,
};
use serde_json::{Value as Json, json};

use crate::{
    context::Context,
    fail::{Exit, Failure},
    http::Call,
    show,
};

/// What a shell ends with where it finds no such program, or cannot run it (POSIX.1-2017, Shell Command Language, 2.8.2).
const NO_PROGRAM: u8 = 127;
const NOT_RUN: u8 = 126;

type Secrets = BTreeMap<String, SecretValue>;

/// The secrets of the calling agent. A name that steers programs is refused here too, whatever the server lets pass.
fn values(context: &Context, typed: &ArgMatches) -> Result<Secrets, Failure> {
    let client = context.client()?.signed_in()?;
    if let Some(meant) = typed.try_get_one::<String>("agent").ok().flatten() {
        let who = client.call(route::WHOAMI, Call::default())?.json;
        let is = |member: &str| who.get(member).and_then(Json::as_str) == Some(meant);
        if !is("agent_name") && !is("agent_id") {
            let caller = ["agent_name", "email"].iter().find_map(|member| who.get(*member)?.as_str());
            let caller = show::line(caller.unwrap_or("somebody else"));
            return Err(Failure::new(
                Exit::Refused,
                format!("The credential is that of {caller}, not of {}.", show::line(meant)),
            )
            .fix("Set ACCREDIT_TOKEN to the agent's own token, or name the profile that has it with --profile."));
        }
    }
    let answer = client.call(route::SECRETS_VALUES, Call::default())?.json;
    let secrets = answer.get("secrets").and_then(Json::as_object);
    let secrets = secrets.ok_or_else(|| Failure::unreachable("The server's answer holds no secrets."))?;
    let read = |(name, value): (&String, &Json)| {
        let wrong = |what: &str| {
            let name = show::line(name);
            Failure::new(Exit::Refused, format!("The secret {name} has {what}. Nothing was done with any of them."))
                .fix(format!("The agent's owner deletes it: accredit agents secrets delete AGENT {name}"))
        };
        let known = SecretName::parse(name).ok_or_else(|| wrong("a name that could steer programs"))?;
        let text = value.as_str().unwrap_or_default().to_owned();
        let value = SecretValue::parse(text).ok_or_else(|| wrong("a value that is no text of a secret"))?;
        Ok((known.as_str().to_owned(), value))
    };
    secrets.iter().map(read).collect()
}

/// `secrets exec -- CMD`: this process becomes CMD, so that signals and the exit status are its own, and no copy of the values is left.
pub(super) fn exec(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let mut words = typed.get_many::<OsString>("command").into_iter().flatten();
    let program = words.next().ok_or_else(|| Failure::usage("No command was typed."))?;
    let secrets = values(context, typed)?;
    let mut command = Command::new(program);
    command.args(words).envs(secrets.iter().map(|(name, value)| (name, value.reveal())));
    let error = match become_it(&mut command) {
        Ok(status) => return Ok(status),
        Err(error) => error,
    };
    let program = program.to_string_lossy();
    show::failure(&Failure::usage(format!("{} cannot be run: {error}", show::line(&program))));
    Ok(if error.kind() == std::io::ErrorKind::NotFound { NO_PROGRAM } else { NOT_RUN })
}

#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<u8, std::io::Error> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<u8, std::io::Error> {
    Ok(command.status()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// `secrets values --format docker`: lines for `docker run --env-file`. `None`: another format, which the server makes.
pub(super) fn for_docker(context: &Context, typed: &ArgMatches) -> Option<Result<u8, Failure>> {
    let is_asked = typed.get_one::<String>("format").is_some_and(|format| format == "docker");
    is_asked.then(|| {
        show::raw(&env_file(&values(context, typed)?)?);
        Ok(0)
    })
}

/// A line for each secret, whose value is all behind the first `=`: such a file knows no quotes, and no value with a line end.
fn env_file(secrets: &Secrets) -> Result<String, Failure> {
    let mut text = String::new();
    for (name, value) in secrets {
        let value = value.reveal();
        if value.contains(['\n', '\r']) {
            let sentence =
                format!("The secret {name} has several lines, which such a file cannot hold. Nothing was printed.");
            return Err(Failure::new(Exit::Refused, sentence)
                .fix("Write each into a file, and mount the directory: accredit secrets write DIR"));
        }
        text.extend([name, "=", value, "\n"]);
    }
    Ok(text)
}

/// `secrets write DIR`: each secret in a file of its name.
pub(super) fn write(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let folder = typed.get_one::<std::path::PathBuf>("folder").cloned().unwrap_or_default();
    // Checked first: reading the values is an audit row.
    let made: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && is_absent(path)).collect();
    let put = || {
        let place = files::Place::open(&folder)?;
        let secrets = values(context, typed)?;
        place.put(&secrets).map(|()| (place, secrets))
    };
    let (place, secrets) = put().inspect_err(|_| {
        // Directories that are empty, and were not there before.
        _ = made.iter().try_for_each(std::fs::remove_dir);
    })?;
    let names: Vec<&String> = secrets.keys().collect();
    if context.is_json {
        show::json(&json!({ "folder": folder.to_string_lossy(), "written": names }));
    } else {
        for name in names {
            show::out(&folder.join(name).display().to_string());
        }
    }
    for left in place.others(&secrets)? {
        show::warn(&format!("{} is no secret of this agent any more: delete it.", folder.join(left).display()));
    }
    Ok(0)
}

fn is_absent(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(unix)]
mod files {
    //! Every step is relative to the open directory, and follows no link: a link in the place of a file is replaced, not written through.

    use std::{
        fs::{DirBuilder, File},
        io::{self, Write as _},
        os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
        path::{Path, PathBuf},
    };

    use common::agent_secret::SecretName;
    use rustix::{
        fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat},
        io::Errno,
        process::geteuid,
    };

    use super::Secrets;
    use crate::fail::{Exit, Failure, of_file};

    /// A directory that its owner alone can enter.
    pub(super) struct Place {
        folder: OwnedFd,
        path: PathBuf,
    }

    impl Place {
        pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
            // A slash at the end would follow a link.
            let path: PathBuf = folder.components().collect();
            let failed = |error: Errno| of_file(path.display())(error.into());
            let make = || mkdirat(CWD, &path, Mode::from_raw_mode(0o700));
            let made = match (make(), path.parent()) {
                (Err(Errno::NOENT), Some(above)) => {
                    DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(of_file(above.display()))?;
                    make()
                }
                (made, _) => made,
            };
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(CWD, &path, flags, Mode::empty()).map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => {
                    Failure::new(Exit::Refused, format!("{} is a link, or no directory.", path.display()))
                        .fix("Name a directory itself, or one that is not there yet.")
                }
                error => failed(error),
            })?;
            let known = fstat(&folder).map_err(failed)?;
            if known.st_uid != geteuid().as_raw() || known.st_mode & 0o077 != 0 {
                let sentence = format!("Others can enter {}, or it is somebody else's.", path.display());
                let fix = "Name a directory of your own with mode 0700, or one that is not there yet.";
                return Err(Failure::new(Exit::Refused, sentence).fix(fix));
            }
            Ok(Self { folder, path })
        }

        /// Writes all of them beside their places, and then moves each into its own: a reader sees a whole value, old or new.
        pub(super) fn put(&self, secrets: &Secrets) -> Result<(), Failure> {
            for name in secrets.keys() {
                let known = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
                if known.is_ok_and(|known| FileType::from_raw_mode(known.st_mode) == FileType::Directory) {
                    let sentence = format!("{} is a directory. Nothing was written.", self.path.join(name).display());
                    return Err(Failure::new(Exit::Refused, sentence));
                }
            }
            let written = secrets.iter().try_for_each(|(name, value)| self.write(&part(name), value.reveal()));
            let moved = written.and_then(|()| {
                secrets.keys().try_for_each(|name| {
                    renameat(&self.folder, part(name), &self.folder, name).map_err(io::Error::from)
                })
            });
            if moved.is_err() {
                secrets.keys().for_each(|name| {
                    _ = unlinkat(&self.folder, part(name), AtFlags::empty());
                });
            }
            moved.map_err(of_file(self.path.display()))
        }

        fn write(&self, name: &str, text: &str) -> io::Result<()> {
            // Left behind by a run that was cut off.
            match unlinkat(&self.folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&self.folder, name, flags, Mode::from_raw_mode(0o600))?);
            file.write_all(text.as_bytes())?;
            file.sync_all()
        }

        /// Files with names of secrets that are none of these.
        pub(super) fn others(&self, secrets: &Secrets) -> Result<Vec<String>, Failure> {
            let entries = Dir::read_from(&self.folder).map_err(io::Error::from);
            let names = entries.map_err(of_file(self.path.display()))?.filter_map(Result::ok);
            let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
            Ok(names.filter(|name| SecretName::parse(name).is_some() && !secrets.contains_key(name)).collect())
        }
    }

    fn part(name: &str) -> String {
        format!(".{name}.part")
    }
}

#[cfg(not(unix))]
mod files {
    use super::Secrets;
    use crate::fail::Failure;

    pub(super) struct Place;

    impl Place {
        pub(super) fn open(_: &std::path::Path) -> Result<Self, Failure> {
            Err(Failure::usage("Files for their owner alone need a Unix system.")
                .fix("Use: accredit secrets exec -- CMD"))
        }

        pub(super) fn put(&self, _: &Secrets) -> Result<(), Failure> {
            Ok(())
        }

        pub(super) fn others(&self, _: &Secrets) -> Result<Vec<String>, Failure> {
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R149: a file for docker has values as they are, and refuses those that would become other lines.
    #[test]
    fn a_file_for_docker_has_values_as_they_are() {
        let secrets = |values: &[(&str, &str)]| -> Secrets {
            let one =
                |(name, value): &(&str, &str)| ((*name).to_owned(), SecretValue::parse((*value).to_owned()).unwrap());
            values.iter().map(one).collect()
        };
        let text = env_file(&secrets(&[("B", " it's \"$HOME\" = #1 "), ("A", "plain")])).unwrap();
        assert_eq!(text, "A=plain\nB= it's \"$HOME\" = #1 \n");
        for value in ["two\nlines", "end\n", "carriage\rreturn"] {
            let failure = env_file(&secrets(&[("A", "plain"), ("KEY", value)])).unwrap_err();
            assert!(failure.sentence.contains("The secret KEY has several lines"), "{failure:?}");
            assert!(
                !format!("{failure:?}").contains("return") && !format!("{failure:?}").contains("two"),
                "{failure:?}"
            );
        }
    }
}
