//! A server process that ends with its test.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

/// `llcuda serve --demo` on a free port.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Server {
    /// Starts the demo model with extra flags and waits until it is ready.
    pub(crate) fn demo(flags: &[&str]) -> Self {
        Self::start("--demo", flags, &[])
    }

    /// Starts the model that a flag names, with extra flags and environment variables, and waits until it is ready.
    pub(crate) fn start(model: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let child = command()
            .args(["serve", model, "--host", "127.0.0.1", "--port", "0"])
            .args(flags)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Owned from now on, so that a panic below ends the process too.
        let mut server = Self { child, address: String::new() };
        let (lines, said) = mpsc::channel();
        let stdout = server.child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>);
        let stderr = server.child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>);
        for stream in [stdout, stderr].into_iter().flatten() {
            let lines = lines.clone();
            // Reads to the end, so that the server never blocks on a full pipe.
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|l| drop(lines.send(l)))
            });
        }
        drop(lines);
        let mut log = String::new();
        for line in said {
            log += &format!("{line}\n");
            if let Some(address) = address_in(&line) {
                server.address = address;
                return server;
            }
        }
        panic!("the server ended without an address: {log}");
    }

    /// Sends a signal by name, e.g. `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("the child is ours")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_llcuda"))
}

/// The `127.0.0.1:PORT` behind `http://` in a line of the log.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (port != "0" && !port.is_empty()).then(|| format!("127.0.0.1:{port}"))
}
