//! The operator's routes: the first tenant and its admin, once; further tenants. Both ask for the operator secret, and
//! do not exist if none is set.

use common::{
    email,
    error::{ApiError, Code, Flaws},
    id::{TenantId, UserId},
    role::Role,
    route::Route,
    secret::Digest,
    text::persons_name,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::{App, log},
    extract::Body,
    form,
    form::Nullable,
    response::{self, Response},
};
use store::{
    attempt::Guesses,
    audit::{self, Event},
    db::{Purpose, Tx},
    tenant, user,
};

use crate::{password, tries};

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
        tenant: Option<Nullable<String>>,
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

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantAndAdmin")]
pub(crate) struct Created {
    tenant: CreatedTenant,
    user: user::User,
}

#[derive(Serialize, JsonSchema)]
struct CreatedTenant {
    id: TenantId,
    slug: String,
}

/// A tenant and its first admin, checked and hashed.
struct Checked {
    slug: String,
    email: String,
    name: String,
    hash: String,
}

/// `POST /auth/bootstrap`: the first tenant and its admin; 403 for ever after.
pub(crate) async fn bootstrap(
    app: App,
    route: &'static Route,
    Body(body): Body<Bootstrap>,
) -> Result<Response, ApiError> {
    check_secret(&app, &body.secret).await?;
    // Seen early, so that nothing is hashed in vain; decided below.
    if tenant::is_bootstrapped(app.db()).await? {
        return Err(Code::AlreadyBootstrapped.into());
    }
    let slug = body.tenant.and_then(|Nullable(slug)| slug).unwrap_or_else(|| "main".to_owned());
    let checked = check(&app, &slug, &body.email, &body.name, &body.password).await?;
    create(&app, checked, route, true).await
}

/// `POST /operator/tenants`: a further tenant and its first admin.
pub(crate) async fn create_tenant(
    app: App,
    route: &'static Route,
    Body(body): Body<NewTenant>,
) -> Result<Response, ApiError> {
    check_secret(&app, &body.secret).await?;
    let checked = check(&app, &body.tenant, &body.email, &body.name, &body.password).await?;
    create(&app, checked, route, false).await
}

/// Characters that an operator secret should have.
const GOOD: usize = 16;

/// Compares the operator secret; wrong ones are counted by network.
pub(crate) async fn check_secret(app: &App, secret: &str) -> Result<(), ApiError> {
    let Some(expected) = &app.settings().operator_secret else { return Err(Code::NotFound.into()) };
    // No guess: the page for setting up asks so whether there is a secret at all.
    if secret.trim().is_empty() {
        return Err(ApiError::field("secret", "is missing: a string"));
    }
    let guesses = Guesses::new(&["operator secret", &app.network()], TRIES, WINDOW);
    let is_right = Digest::of(secret.trim().as_bytes()).matches(expected);
    if is_right && secret.trim().len() < GOOD {
        log(
            app.request_id(),
            "operator_secret",
            "it has fewer than 16 characters and can be guessed: make another one",
        );
    }
    let outcome = async { if is_right { Ok(()) } else { Err(Code::WrongOperatorSecret.into()) } };
    tries::check(app, &guesses, Code::WrongOperatorSecret, outcome).await.map_err(|refusal: ApiError| {
        match refusal.code() {
            Code::TooManyAttempts => refusal.detail("There were too many wrong operator secrets from this address."),
            _ => refusal,
        }
    })
}

/// Whether a text can be a tenant's slug.
pub(crate) fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

async fn check(app: &App, slug: &str, email: &str, name: &str, password: &str) -> Result<Checked, ApiError> {
    let mut flaws = Flaws::default();
    let slug = flaws.check("tenant", Some(slug).filter(|slug| is_slug(slug)).ok_or_else(|| Code::InvalidTenant.into()));
    let name = flaws.check("name", persons_name("name", name, 64));
    let email = flaws.check("email", email::parse(email).ok_or_else(|| Code::InvalidEmail.into()));
    let own = [email.as_deref(), name.as_deref(), slug].map(Option::unwrap_or_default);
    let strong = flaws.check("password", password::check_strength(password, &own));
    let (Some(slug), Some(name), Some(email), Some(())) = (slug, name, email, strong) else {
        return Err(flaws.refusal());
    };
    password::take_turn(app).await?;
    Ok(Checked { slug: slug.to_owned(), email, name, hash: password::hash(password, app.chance())? })
}

async fn create(app: &App, checked: Checked, route: &'static Route, is_first: bool) -> Result<Response, ApiError> {
    let tenant_id = TenantId::generate(app.now(), app.chance());
    let tx = app.db().begin(Purpose::Durable).await?;
    if !tenant::insert(&tx, &tenant_id, &checked.slug, app.now()).await? {
        let is_bootstrapped = is_first && tenant::is_bootstrapped(&tx).await?;
        return Err(if is_bootstrapped { Code::AlreadyBootstrapped } else { Code::TenantTaken }.into());
    }
    if is_first && !tenant::claim_bootstrap(&tx, &tenant_id, app.now()).await? {
        return Err(Code::AlreadyBootstrapped.into());
    }
    let user_id = insert_admin(app, &tx, &tenant_id, &checked).await?;
    let after = json!({ "tenant": checked.slug, "admin": checked.email });
    let event = Event { action: route.audit.unwrap_or_default(), object: tenant_id.as_str(), before: Null, after };
    audit::insert(&tx, &app.origin(&tenant_id, Some(&user_id)), &event).await?;
    let user = user::get(&tx, &tenant_id, user_id.as_str()).await?;
    tx.commit().await?;
    let created = Created { tenant: CreatedTenant { id: tenant_id, slug: checked.slug }, user };
    response::uncached_json(StatusCode::CREATED, &created)
}

async fn insert_admin(app: &App, tx: &Tx<'_>, tenant_id: &TenantId, checked: &Checked) -> Result<UserId, ApiError> {
    let id = UserId::generate(app.now(), app.chance());
    let new = user::New {
        id: &id,
        tenant_id,
        email: &checked.email,
        name: &checked.name,
        role: Role::Admin,
        password_hash: Some(&checked.hash),
        created_at: app.now(),
    };
    if user::insert(tx, &new).await? { Ok(id) } else { Err(Code::EmailTaken.into()) }
}

#[cfg(test)]
mod tests {
    use service::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::router;

    fn app() -> TestApp {
        TestApp::with(router(), Settings { operator_secret: Some(Digest::of(b"open sesame")), ..Default::default() })
    }

    fn body() -> serde_json::Value {
        json!({ "secret": "open sesame", "email": "ada@example.com", "name": "Ada", "password": "correct horse" })
    }

    #[tokio::test]
    async fn bootstrap_makes_a_tenant_and_its_admin_who_can_sign_in() {
        let t = app();
        let created = t.nobody("POST", "/auth/bootstrap", body()).await.is(201);
        assert_eq!((&created["tenant"]["slug"], &created["user"]["role"]), (&json!("main"), &json!("admin")));
        let body = json!({ "email": "ada@example.com", "password": "correct horse" });
        t.nobody("POST", "/auth/token", body).await.is(200);
        assert_eq!(t.texts("SELECT action FROM audit").await, ["tenant.bootstrap", "session.start"]);
    }

    /// R22.
    #[tokio::test]
    async fn bootstrap_happens_once_whatever_tenant_is_named() {
        let t = app();
        t.nobody("POST", "/auth/bootstrap", body()).await.is(201);
        let mut other = body();
        other["tenant"] = json!("second");
        for again in [body(), other] {
            t.nobody("POST", "/auth/bootstrap", again).await.refused(403, "already_bootstrapped");
        }
        assert_eq!(t.number("SELECT count(*) FROM tenants").await, 1);
    }

    /// R73.
    #[tokio::test]
    async fn without_an_operator_secret_the_routes_are_not_there() {
        let t = TestApp::new(router());
        for path in ["/auth/bootstrap", "/operator/tenants"] {
            let mut body = body();
            body["tenant"] = json!("main");
            t.nobody("POST", path, body).await.refused(404, "not_found");
        }
    }

    /// R201: a secret that was left empty is no guess.
    #[tokio::test]
    async fn an_empty_operator_secret_is_no_guess() {
        let t = app();
        let mut empty = body();
        empty["secret"] = json!(" ");
        for _ in 0..=TRIES {
            let refused = t.nobody("POST", "/auth/bootstrap", empty.clone()).await.refused(422, "validation_error");
            assert_eq!(refused["fields"][0]["field"], "secret");
        }
        t.nobody("POST", "/auth/bootstrap", body()).await.is(201);
    }

    /// R25: guesses of the operator secret are counted; the right one too is refused then.
    #[tokio::test]
    async fn wrong_operator_secrets_are_throttled() {
        let t = app();
        let mut wrong = body();
        wrong["secret"] = json!("open barley");
        for _ in 0..10 {
            t.nobody("POST", "/auth/bootstrap", wrong.clone()).await.refused(403, "wrong_operator_secret");
        }
        t.nobody("POST", "/auth/bootstrap", body()).await.refused(429, "too_many_attempts");
        t.wait(600);
        t.nobody("POST", "/auth/bootstrap", body()).await.is(201);
    }

    /// R17: the same address in two tenants is two users.
    #[tokio::test]
    async fn a_further_tenant_has_its_own_admin() {
        let t = app();
        t.nobody("POST", "/auth/bootstrap", body()).await.is(201);
        let mut second = body();
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
    async fn an_invalid_value_is_refused_and_nothing_is_created() {
        let t = app();
        for (field, value, slug) in [
            ("tenant", "No Slug", "invalid_tenant"),
            ("tenant", "-x", "invalid_tenant"),
            ("email", "ada", "invalid_email"),
            ("name", "", "invalid_text"),
            ("password", "password", "weak_password"),
        ] {
            let mut body = body();
            body[field] = json!(value);
            t.nobody("POST", "/auth/bootstrap", body).await.refused(400, slug);
        }
        assert_eq!(t.number("SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM bootstrap)").await, 0);
    }
}
