//! HTTP/1.1 by hand: requests are sent byte for byte, so that a test can also send bytes that no library would.

use std::{
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream},
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::{PATIENCE, host::show_log};

/// One response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers in the order that they came, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that can carry several requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `host:port`.
    pub fn open(address: &str) -> Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Connects to `host:port` as a client with another address of the loopback network.
    pub fn open_from(source: Ipv4Addr, address: &str) -> Result<Self> {
        let to: SocketAddr = address.parse().map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        connect(&socket, &to)?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE * 2))?;
        stream.set_write_timeout(Some(PATIENCE * 2))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The same connection, to read from while another thread sends.
    pub fn reader(&self) -> Result<Self> {
        Ok(Self { stream: BufReader::new(self.stream.get_ref().try_clone()?) })
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) -> Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// Reads the response to a request; `head` when it was a HEAD request, whose response has no body.
    pub fn response(&mut self, head: bool) -> Result<Response> {
        loop {
            let mut response = self.head()?;
            // 100 Continue and its like come before the response.
            if response.status >= 200 {
                if !head && response.status != 204 && response.status != 304 {
                    response.body = self.body(&response)?;
                    self.explain(&response);
                }
                return Ok(response);
            }
        }
    }

    /// Shows the host's log when an answer says that something failed, and not what.
    fn explain(&self, response: &Response) {
        if response.status >= 500
            && response.body.is_empty()
            && let Ok(host) = self.stream.get_ref().peer_addr()
        {
            show_log(&host.to_string(), &format!("an empty {}", response.status));
        }
    }

    /// Waits for the other side to close the connection, and gives what it still sent.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended in the middle of a response"));
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn head(&mut self) -> Result<Response> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no status line: {line}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    fn body(&mut self, response: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = response.header("content-length").and_then(|length| length.parse().ok()) {
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        } else if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16)
                    .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(body.get_mut(start..).unwrap_or_default())?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

/// Sends bytes on a connection of their own and reads one response.
pub fn exchange(address: &str, bytes: &[u8]) -> Result<Response> {
    let mut connection = Connection::open(address)?;
    // A server may answer before it has read everything, and close: then the answer counts, not the failed write.
    let sent = connection.send(bytes);
    connection.response(bytes.starts_with(b"HEAD ")).or_else(|error| sent.and(Err(error)))
}

/// A request as bytes, its length declared, for a connection that ends with it.
pub fn request(method: &str, path: &str, address: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body.unwrap_or_default()].concat()
}
