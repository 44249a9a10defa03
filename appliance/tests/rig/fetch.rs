//! Clients: a plain one that sees every byte of a head, and real ones. The rule: an answer counts as whole only with
//! as many bytes as it announced.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// No answer of a test takes as long between two bytes.
const STALL: Duration = Duration::from_secs(40);

/// A request to be made.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    address: SocketAddr,
    method: &'static str,
    target: String,
    host: Option<String>,
    fields: Vec<String>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head as it came, with its status line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field, however its name is spelled.
    pub(crate) fn field_in_any_case(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        Some(fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?.1)
    }

    /// The value of a field whose name is spelled just so.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Get {
    pub(crate) fn new(address: SocketAddr, target: &str) -> Self {
        Self {
            address,
            method: "GET",
            target: target.to_owned(),
            host: None,
            fields: Vec::new(),
        }
    }

    pub(crate) fn head_only(mut self) -> Self {
        self.method = "HEAD";
        self
    }

    /// What stands in the Host field instead of the address.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The bytes from `first` to `last`, both included.
    pub(crate) fn range(self, first: u64, last: u64) -> Self {
        self.with(&format!("Range: bytes={first}-{last}"))
    }

    pub(crate) fn with(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    /// Makes the request on a connection of its own.
    pub(crate) fn run(&self) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        self.run_on(&mut stream)
    }

    /// A connection for some requests.
    pub(crate) fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::with_capacity(64 << 10, stream))
    }

    /// Makes the request on that connection.
    pub(crate) fn run_on<S: Read + Write>(&self, stream: &mut BufReader<S>) -> io::Result<Answer> {
        self.ask(stream)?;
        self.hear(stream)
    }

    /// Sends the request, and waits for nothing.
    pub(crate) fn ask<S: Read + Write>(&self, stream: &mut BufReader<S>) -> io::Result<()> {
        let host = self.host.clone().unwrap_or(self.address.to_string());
        let fields: String = self.fields.iter().map(|f| format!("{f}\r\n")).collect();
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n",
            self.method, self.target
        );
        stream.get_mut().write_all(request.as_bytes())?;
        stream.get_mut().flush()
    }

    /// Takes the answer to a request that was sent.
    pub(crate) fn hear<S: Read>(&self, stream: &mut BufReader<S>) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut answer = Answer {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            head,
            body: Vec::new(),
        };
        // Only here in any case: that clients find it is tested where clients are served.
        let length = answer.field_in_any_case("content-length").map(str::parse);
        let bodiless = self.method == "HEAD" || matches!(answer.status, 204 | 304);
        match length {
            _ if bodiless => {}
            Some(length) => {
                answer.body = vec![0; length.map_err(io::Error::other)?];
                stream.read_exact(&mut answer.body)?;
            }
            None if answer.head.to_ascii_lowercase().contains("chunked") => {
                answer.body = chunked(stream)?;
            }
            None => {
                stream.read_to_end(&mut answer.body)?;
            }
        }
        Ok(answer)
    }
}

fn chunked(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let len = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; len + 2];
        stream.read_exact(&mut chunk)?;
        if len == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..len]);
    }
}

/// Runs a download program to its end, which must be a good one.
pub(crate) fn download(program: &str, arguments: &[&str], url: &str, into: &Path) {
    let name = into.file_name().expect("a file").to_string_lossy();
    let directory = into.parent().expect("a directory");
    let mut command = Command::new(program);
    match program {
        "curl" => command.args(["-sS", "--fail", "-o", &into.to_string_lossy()]),
        "wget" => command.args(["-nv", "-O", &into.to_string_lossy()]),
        "aria2c" => command.args(["-q", "-d", &directory.to_string_lossy(), "-o", &name]),
        other => panic!("who is {other}?"),
    };
    let output = command
        .args(arguments)
        .arg(url)
        .env_remove("http_proxy")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {url}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
