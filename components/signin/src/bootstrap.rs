//! The operator's routes: the first tenant and its admin, once; further tenants. Both ask for the operator secret, and
//! without one they are not there.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    audit::{self, Event},
    db::{Purpose, Tx},
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull},
    http::{App, text},
    id::{TenantId, UserId},
    idempotency::Answer,
    route::{self, Route},
    scope::Role,
    secret::Digest,
    store::{attempt, tenant, user},
};
use serde::Serialize;
use serde_json::{Value::Null, json};

use crate::password;

/// Wrong secrets from one network in a window.
const TRIES: i64 = 10;
/// The window, seconds.
const WINDOW: i64 = 600;

form! {
    pub(crate) struct Bootstrap {
        secret: String,
        email: String,
        name: String,
        password: String,
        tenant: Option<OrNull<String>>,
    }
}

form! {
    pub(crate) struct NewTenant {
        secret: String,
        email: String,
        name: String,
        password: String,
        tenant: String,
    }
}

#[derive(Serialize)]
struct Made {
    tenant: MadeTenant,
    user: user::User,
}

#[derive(Serialize)]
struct MadeTenant {
    id: TenantId,
    slug: String,
}

/// A tenant and its first admin, checked and hashed.
struct Wanted {
    slug: String,
    email: String,
    name: String,
    hash: String,
}

/// `POST /auth/bootstrap`: the first tenant and its admin; 403 for ever after.
pub(crate) async fn bootstrap(app: App, ask: Ask<Bootstrap>) -> Result<Response, ApiError> {
    let ask = ask.body;
    check_secret(&app, &ask.secret).await?;
    // Seen early, so that nobody hashes for nothing; decided below.
    if tenant::is_bootstrapped(app.db()).await? {
        return Err(Code::AlreadyBootstrapped.into());
    }
    let slug = ask.tenant.and_then(|OrNull(slug)| slug).unwrap_or_else(|| "main".to_owned());
    let wanted = check(&app, &slug, &ask.email, &ask.name, &ask.password).await?;
    make(&app, wanted, route::BOOTSTRAP, true).await
}

/// `POST /operator/tenants`: a further tenant and its first admin.
pub(crate) async fn tenant(app: App, ask: Ask<NewTenant>) -> Result<Response, ApiError> {
    let ask = ask.body;
    check_secret(&app, &ask.secret).await?;
    let wanted = check(&app, &ask.tenant, &ask.email, &ask.name, &ask.password).await?;
    make(&app, wanted, route::TENANT_CREATE, false).await
}

/// Compares the operator secret; wrong ones are counted by network.
pub(crate) async fn check_secret(app: &App, secret: &str) -> Result<(), ApiError> {
    let Some(expected) = &app.settings().operator_secret else { return Err(Code::NotFound.into()) };
    let key = Digest::of_parts(&["operator secret", &app.network()]);
    if let Some(tries) = attempt::find(app.db(), &key, app.now()).await?
        && tries.count >= TRIES
    {
        return Err(ApiError::from(Code::TooManyAttempts)
            .detail("Too many wrong operator secrets from this address.")
            .retry_after(app.now().seconds_until(tries.ends_at)));
    }
    if Digest::of(secret.trim().as_bytes()).matches(expected) {
        return Ok(());
    }
    attempt::count(app.db(), &key, TRIES, app.now(), WINDOW).await?;
    Err(Code::WrongOperatorSecret.into())
}

async fn check(app: &App, slug: &str, email: &str, name: &str, password: &str) -> Result<Wanted, ApiError> {
    let is_slug = (1..=63).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if !is_slug {
        return Err(Code::InvalidTenant.into());
    }
    let email = user::parse_email(email).ok_or(Code::InvalidEmail)?;
    let name = text("name", name, 64)?;
    password::check_strength(password)?;
    password::take_turn(app).await?;
    Ok(Wanted { slug: slug.to_owned(), email, name, hash: password::hash(password, app.chance())? })
}

async fn make(app: &App, wanted: Wanted, route: &'static Route, is_first: bool) -> Result<Response, ApiError> {
    let tenant_id = TenantId::generate(app.now(), app.chance());
    let tx = app.db().begin(Purpose::Durable).await?;
    if !tenant::insert(&tx, &tenant_id, &wanted.slug, app.now()).await? {
        let again = is_first && tenant::is_bootstrapped(&tx).await?;
        return Err(if again { Code::AlreadyBootstrapped } else { Code::TenantTaken }.into());
    }
    if is_first && !tenant::spend_bootstrap(&tx, &tenant_id, app.now()).await? {
        return Err(Code::AlreadyBootstrapped.into());
    }
    let user_id = insert_admin(app, &tx, &tenant_id, &wanted).await?;
    let after = json!({ "tenant": wanted.slug, "admin": wanted.email });
    let event = Event { action: route.audit.unwrap_or_default(), object: tenant_id.as_str(), before: Null, after };
    audit::by_user(app, &tx, &tenant_id, Some(&user_id), &event).await?;
    let user = user::find(&tx, &tenant_id, user_id.as_str()).await?;
    let user =
        user.ok_or_else(|| ApiError::from(Code::Internal).cause("an admin that was just stored is not there"))?;
    tx.commit().await?;
    let made = Made { tenant: MadeTenant { id: tenant_id, slug: wanted.slug }, user };
    let mut response = Answer::json(StatusCode::CREATED, &made)?.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn insert_admin(app: &App, tx: &Tx<'_>, tenant_id: &TenantId, wanted: &Wanted) -> Result<UserId, ApiError> {
    let id = UserId::generate(app.now(), app.chance());
    let new = user::New {
        id: &id,
        tenant_id,
        email: &wanted.email,
        name: &wanted.name,
        role: Role::Admin,
        password_hash: Some(&wanted.hash),
        created_at: app.now(),
    };
    if user::insert(tx, &new).await? { Ok(id) } else { Err(Code::EmailTaken.into()) }
}

#[cfg(test)]
mod tests {
    use common::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::router;

    fn app() -> TestApp {
        TestApp::with(router(), Settings { operator_secret: Some(Digest::of(b"open sesame")), ..Default::default() })
    }

    fn ask() -> serde_json::Value {
        json!({ "secret": "open sesame", "email": "ada@example.com", "name": "Ada", "password": "correct horse" })
    }

    #[tokio::test]
    async fn bootstrap_makes_a_tenant_and_its_admin_who_can_sign_in() {
        let t = app();
        let made = t.nobody("POST", "/auth/bootstrap", ask()).await.is(201);
        assert_eq!((&made["tenant"]["slug"], &made["user"]["role"]), (&json!("main"), &json!("admin")));
        let body = json!({ "email": "ada@example.com", "password": "correct horse" });
        t.nobody("POST", "/auth/token", body).await.is(200);
        assert_eq!(t.texts("SELECT action FROM audit").await, ["tenant.bootstrap", "session.start"]);
    }

    /// R22: once.
    #[tokio::test]
    async fn bootstrap_happens_once_whatever_is_asked() {
        let t = app();
        t.nobody("POST", "/auth/bootstrap", ask()).await.is(201);
        let mut other = ask();
        other["tenant"] = json!("second");
        for again in [ask(), other] {
            t.nobody("POST", "/auth/bootstrap", again).await.refused(403, "already_bootstrapped");
        }
        assert_eq!(t.number("SELECT count(*) FROM tenants").await, 1);
    }

    /// R73: without an operator secret the routes are not there.
    #[tokio::test]
    async fn without_an_operator_secret_there_is_nothing() {
        let t = TestApp::new(router());
        for path in ["/auth/bootstrap", "/operator/tenants"] {
            let mut body = ask();
            body["tenant"] = json!("main");
            t.nobody("POST", path, body).await.refused(404, "not_found");
        }
    }

    /// R25: guesses of the operator secret are counted; the right one too is refused then.
    #[tokio::test]
    async fn wrong_operator_secrets_are_throttled() {
        let t = app();
        let mut wrong = ask();
        wrong["secret"] = json!("open barley");
        for _ in 0..10 {
            t.nobody("POST", "/auth/bootstrap", wrong.clone()).await.refused(403, "wrong_operator_secret");
        }
        t.nobody("POST", "/auth/bootstrap", ask()).await.refused(429, "too_many_attempts");
        t.wait(600);
        t.nobody("POST", "/auth/bootstrap", ask()).await.is(201);
    }

    /// R17: the same address in two tenants is two users.
    #[tokio::test]
    async fn a_further_tenant_has_its_own_admin() {
        let t = app();
        t.nobody("POST", "/auth/bootstrap", ask()).await.is(201);
        let mut second = ask();
        second["tenant"] = json!("second");
        second["password"] = json!("battery staple");
        t.nobody("POST", "/operator/tenants", second.clone()).await.is(201);
        t.nobody("POST", "/operator/tenants", second).await.refused(409, "tenant_taken");
        let mut sign_in = json!({ "email": "ada@example.com", "password": "battery staple" });
        t.nobody("POST", "/auth/token", sign_in.clone()).await.refused(401, "login_failed");
        sign_in["tenant"] = json!("second");
        t.nobody("POST", "/auth/token", sign_in).await.is(200);
    }

    #[tokio::test]
    async fn a_value_that_cannot_be_is_refused_and_nothing_is_made() {
        let t = app();
        for (field, value, slug) in [
            ("tenant", "No Slug", "invalid_tenant"),
            ("tenant", "-x", "invalid_tenant"),
            ("email", "ada", "invalid_email"),
            ("name", "", "invalid_text"),
            ("password", "password", "weak_password"),
        ] {
            let mut body = ask();
            body[field] = json!(value);
            t.nobody("POST", "/auth/bootstrap", body).await.refused(400, slug);
        }
        assert_eq!(t.number("SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM bootstrap)").await, 0);
    }
}
