//! A terminal with a program in it: what the program shows on it, and what somebody types.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{PATIENCE, process::Running, until};

/// A terminal with a program that owns it.
pub struct Terminal {
    child: Running,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    /// How much of what was shown somebody has waited for.
    read: usize,
}

impl Terminal {
    /// Starts a program in a terminal with so many columns. The program gets what `command` says, and the terminal as its own.
    #[track_caller]
    pub fn start(command: &Command, columns: u16) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("the other side of it");
        unlockpt(&keyboard).expect("the other side of it");
        let name = ptsname(&keyboard, Vec::new()).expect("its name");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keyboard, size).expect("its size");
        let open = || {
            let path = std::ffi::OsStr::from_bytes(name.as_bytes());
            Stdio::from(OpenOptions::new().read(true).write(true).open(path).expect("the other side of it"))
        };
        // What is asked for without an echo is read from the terminal that a session owns.
        let mut inside = Command::new("/usr/bin/setsid");
        inside.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        inside.current_dir(command.get_current_dir().expect("a directory"));
        let child = inside.stdin(open()).stdout(open()).stderr(open()).spawn().expect("setsid of util-linux");
        drop(inside);
        let keyboard = File::from(keyboard);
        let mut side = keyboard.try_clone().expect("the terminal");
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error: nobody has the other side any more.
            while let Ok(read @ 1..) = side.read(&mut bytes) {
                if sender.send(bytes.get(..read).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child: Running(child), keyboard, screen, shown: Vec::new(), read: 0 }
    }

    /// All that was shown.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    pub fn until(&mut self, wanted: &str) -> &mut Self {
        loop {
            let rest = self.shown.get(self.read..).unwrap_or_default();
            if let Some(at) = rest.windows(wanted.len()).position(|window| window == wanted.as_bytes()) {
                self.read += at + wanted.len();
                return self;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.extend(bytes),
                Err(error) => panic!("{wanted:?} was not shown ({error}): {}", self.shown()),
            }
        }
    }

    /// Waits until what is typed is not shown. A program says what it asks for a moment before.
    #[track_caller]
    pub fn hidden(&mut self) -> &mut Self {
        until("a terminal without an echo", || {
            let modes = tcgetattr(&self.keyboard).expect("its modes").local_modes;
            (!modes.contains(LocalModes::ECHO)).then_some(())
        });
        self
    }

    /// Whether what is typed is shown.
    #[track_caller]
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).expect("its modes").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Types this. `\u{3}` is Ctrl-C.
    #[track_caller]
    pub fn types(&mut self, text: &str) -> &mut Self {
        self.keyboard.write_all(text.as_bytes()).expect("to type");
        self
    }

    /// Waits for the end of the program: its exit status, and all that was shown.
    #[track_caller]
    pub fn ended(&mut self) -> (i32, String) {
        let status = self.child.0.wait().expect("its end");
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.shown.extend(bytes);
        }
        (status.code().unwrap_or(-1), self.shown())
    }
}
