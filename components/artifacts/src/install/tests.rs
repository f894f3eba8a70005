use http::Request;
use serde_json::Value::Null;
use service::{
    body::RequestBody,
    settings::{PublicUrl, Settings},
    testing::TestApp,
};

use super::*;
use crate::{routes::over, testing};

#[test]
fn a_quoted_text_is_one_word() {
    assert_eq!(quoted("a"), "'a'");
    assert_eq!(quoted("a'; id; '"), "'a'\\''; id; '\\'''");
}

async fn ask(t: &TestApp, hosts: &[&[u8]]) -> service::testing::Answer {
    let mut request = Request::get("/cli/install.sh");
    for host in hosts {
        request = request.header("host", *host);
    }
    t.send(request.body(RequestBody::from("")).unwrap()).await
}

#[tokio::test]
async fn the_script_names_the_server_of_the_request() {
    let folder = testing::folder(b"program", b"wheel");
    let t = TestApp::new(over(Dist::at(folder.path().into())));
    let answer = ask(&t, &[b"example.com:8443"]).await;
    answer.is(200);
    assert!(answer.text.contains("server='https://example.com:8443'\n"), "{}", answer.text);
    assert!(answer.text.contains("version='1.2.3'\n"), "{}", answer.text);
    let choice = format!(
        "    'linux-x86_64') path='/cli/download?os=linux&arch=x86_64' size=7 sha256='{}' ;;\n",
        testing::sha256(b"program")
    );
    assert!(answer.text.contains(&choice), "{}", answer.text);
    let marks = answer.text.matches('@').count() - answer.text.matches("\"$@\"").count();
    assert!(marks == 0 && answer.text.ends_with("\n{ main \"$@\"; }\n"), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/x-shellscript; charset=utf-8");
    assert_eq!(answer.header("content-length"), answer.text.len().to_string());
    assert_eq!((answer.header("cache-control"), answer.header("vary")), ("no-store", "host"));
}

/// R63: a refusal contains nothing that was sent, and nothing that a shell would run.
#[tokio::test]
async fn a_strange_host_gets_no_script() {
    let folder = testing::folder(b"program", b"wheel");
    let t = TestApp::new(over(Dist::at(folder.path().into())));
    let strange: [&[&[u8]]; 7] =
        [&[], &[b""], &[b"evil$(id)"], &[b"evil;id"], &[b"evil\xff"], &[b"evil.com "], &[b"a.com", b"evil.com"]];
    for hosts in strange {
        let refused = ask(&t, hosts).await.refused(400, "invalid_host");
        assert!(!refused.to_string().contains("evil") && !refused.to_string().contains(['`', '$']), "{refused}");
    }
}

#[tokio::test]
async fn the_url_that_the_operator_set_overrides_the_host() {
    let folder = testing::folder(b"program", b"wheel");
    let settings = Settings { public_url: PublicUrl::parse("https://Example.com/team_1/acc/"), ..Default::default() };
    let t = TestApp::with(over(Dist::at(folder.path().into())), settings);
    let hosts: [&[&[u8]]; 4] = [&[], &[b"other.example"], &[b"evil$(id)"], &[b"a.com", b"evil.com"]];
    for hosts in hosts {
        let answer = ask(&t, hosts).await;
        answer.is(200);
        assert!(answer.text.contains("server='https://example.com/team_1/acc'\n"), "{}", answer.text);
        assert!(!answer.text.contains("evil") && !answer.text.contains("other.example"), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_script_takes_no_version() {
    let folder = testing::folder(b"program", b"wheel");
    let t = TestApp::new(over(Dist::at(folder.path().into())));
    let refused = t.nobody("GET", "/cli/install.sh?version=$(id)", Null).await.refused(422, "validation_error");
    assert!(!refused.to_string().contains("$(id)"), "{refused}");
}
