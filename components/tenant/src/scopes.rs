//! Which scopes there are: the built-in ones, with the routes that each opens, and those that a tenant defines for its own services.

use common::{
    error::{ApiError, Code, Flaws},
    preset::Preset,
    role::Role,
    route::{Access, ROUTES, Route},
    scope::{CustomScopes, Scope},
    text::text,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, QueryOrBody},
    form,
    response::{self, Response},
};
use store::custom_scope::{self, CustomScope, Inserted};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Scopes")]
pub(crate) struct All {
    scopes: Vec<BuiltIn>,
    roles: Vec<Ceiling>,
    presets: Vec<PresetScopes>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Scope")]
struct BuiltIn {
    name: &'static str,
    description: &'static str,
    for_people: bool,
    routes: Vec<String>,
    /// Fields of other routes' bodies that take it too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoleCeiling")]
struct Ceiling {
    role: Role,
    scope: Vec<&'static str>,
    custom_scopes: &'static str,
}

#[derive(Serialize, JsonSchema)]
struct PresetScopes {
    name: &'static str,
    scope: Vec<&'static str>,
}

/// `GET /api/scopes`: every built-in scope with its routes, from the route table; what each role may use; what each preset carries.
pub(crate) async fn all() -> Result<Response, ApiError> {
    let routes = |scope: Scope| {
        let opened = ROUTES.iter().filter(move |route| route.access == Access::Scope(scope));
        opened.map(|route| format!("{} {}", route.method, route.path)).collect()
    };
    let fields = |scope: Scope| {
        let named = |route: &'static &Route| route.fields.iter().map(move |field| (*route, field));
        let taking = ROUTES.iter().flat_map(named).filter(move |(_, field)| field.scope == Some(scope));
        taking.map(|(route, field)| format!("{} {} {}", route.method, route.path, field.name)).collect()
    };
    let built_in = |scope: &Scope| BuiltIn {
        name: scope.as_str(),
        description: scope.describe(),
        for_people: scope.is_for_people(),
        routes: routes(*scope),
        fields: fields(*scope),
    };
    let ceiling = |role: Role| Ceiling {
        role,
        scope: role.ceiling().names(),
        custom_scopes: if role == Role::Viewer { "those that end in .read" } else { "all" },
    };
    let form = All {
        scopes: Scope::ALL.iter().map(built_in).collect(),
        roles: Role::ALL.into_iter().map(ceiling).collect(),
        presets: Preset::ALL
            .into_iter()
            .map(|preset| PresetScopes { name: preset.as_str(), scope: preset.scope().split(' ').collect() })
            .collect(),
    };
    response::json(StatusCode::OK, &form)
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CustomScopes")]
pub(crate) struct Custom {
    items: Vec<CustomScope>,
}

/// `GET /api/scopes/custom`: the tenant's own scopes, all of them: there are 100 at most.
pub(crate) async fn list(app: App, caller: Caller) -> Result<Response, ApiError> {
    response::json(StatusCode::OK, &Custom { items: custom_scope::list(app.db(), caller.tenant_id()).await? })
}

form! {
    pub(crate) struct Define {
        name: String,
        description: String,
    }
}

/// `POST /api/scopes/custom`: defines a scope. From the next request on it can be minted, narrowed and introspected.
pub(crate) async fn define(change: Change<Body<Define>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    let is_name = CustomScopes::is_name(&body.name);
    flaws.check("name", if is_name { Ok(()) } else { Err(Code::InvalidScopeName.into()) });
    let description = flaws.check("description", text("description", &body.description, 200));
    let Some(description) = description.filter(|_| is_name) else { return Err(flaws.refusal()) };
    change
        .run(async |write, Body(body)| {
            let (caller, new) = (&write.caller, CustomScope { name: body.name, description, created_at: write.now() });
            match custom_scope::insert(&write.tx, caller.tenant_id(), &new, caller.user_id()).await? {
                Inserted::Created => {
                    let after = json!({ "description": new.description });
                    Ok(Answer::created(&new)?.audited(&new.name, Null, after))
                }
                Inserted::Exists => Err(Code::ScopeTaken.into()),
                Inserted::TooMany => Err(Code::TooManyScopes.into()),
            }
        })
        .await
}

form! {
    pub(crate) struct Remove {
        name: String,
    }
}

/// `DELETE /api/scopes/custom?name=`: takes a scope away from all credentials that carry it.
pub(crate) async fn remove(change: Change<QueryOrBody<Remove>>) -> Result<Response, ApiError> {
    change
        .run(async |write, QueryOrBody(query)| {
            if !custom_scope::delete(&write.tx, write.caller.tenant_id(), &query.name).await? {
                return Err(Code::ScopeNotFound.into());
            }
            Ok(Answer::no_content().audited(query.name, Null, Null))
        })
        .await
}

#[cfg(test)]
mod tests {
    use common::secret::Kind;
    use service::testing::TestApp;

    use super::*;
    use crate::with_neighbours;

    const CUSTOM: &str = "/api/scopes/custom";

    #[tokio::test]
    async fn every_scope_is_listed_with_its_routes() {
        let t = TestApp::new(with_neighbours());
        let all = t.nobody("GET", "/api/scopes", Null).await.is(200);
        let scopes = all["scopes"].as_array().unwrap();
        assert_eq!(scopes.len(), Scope::ALL.len());
        let list = scopes.iter().find(|scope| scope["name"] == "agents.list").unwrap();
        assert_eq!(list["routes"], json!(["GET /api/agents", "GET /api/presets/{name}/drift"]));
        assert_eq!(all["roles"][3], json!({ "role": "admin", "scope": ["*"], "custom_scopes": "all" }));
    }

    /// Custom scopes are minted and narrowed like any other, and every credential loses them when they are taken away.
    #[tokio::test]
    async fn a_custom_scope_is_defined_minted_and_taken_away() {
        let t = TestApp::new(with_neighbours());
        let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let body = json!({ "name": "x.crm.read", "description": "Read customers." });
        let defined = t.as_(&ada, "POST", CUSTOM, body.clone()).await.is(201);
        assert_eq!(t.as_(&ada, "GET", CUSTOM, Null).await.is(200), json!({ "items": [defined] }));
        assert_eq!(t.as_(&eve, "GET", CUSTOM, Null).await.is(200), json!({ "items": [] }));
        t.as_(&ada, "POST", CUSTOM, body.clone()).await.refused(409, "scope_taken");
        t.as_(&eve, "POST", CUSTOM, body).await.is(201); // each tenant has its own
        let mint = json!({ "name": "a", "scope": ["x.crm.read"] });
        let pat = t.as_(&ada, "POST", "/auth/tokens", mint).await.is(201);
        assert_eq!(pat["scope"], json!(["x.crm.read"]));
        t.as_(&ada, "DELETE", &format!("{CUSTOM}?name=x.crm.read"), Null).await.is(204);
        t.as_(&ada, "DELETE", CUSTOM, json!({ "name": "x.crm.read" })).await.refused(404, "scope_not_found");
        assert_eq!(t.number("SELECT count(*) FROM custom_scopes").await, 1, "the other tenant's stays");
        let max = t.user(&tenant, "max@example.com", Role::Curator).await;
        t.as_(&max, "POST", CUSTOM, json!({ "name": "x.a", "description": "a" })).await.refused(403, "scope_denied");
        let key = t.credential(Kind::Pat, &tenant, &ada.user, None, "scopes.write", None).await;
        for bad in ["agents.read", "x", "x.*", "x.A", &format!("x.{}", "a".repeat(63))] {
            t.as_(&key, "POST", CUSTOM, json!({ "name": bad, "description": "a" }))
                .await
                .refused(400, "invalid_scope_name");
        }
    }

    #[tokio::test]
    async fn custom_scopes_are_bounded() {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        for number in 0..custom_scope::MOST {
            t.execute(&format!("INSERT INTO custom_scopes VALUES ('{tenant}', 'x.n{number}', 'n', 0, 'u')"))
                .await
                .unwrap();
        }
        let body = |name: &str| json!({ "name": name, "description": "More." });
        t.as_(&ada, "POST", CUSTOM, body("x.more")).await.refused(409, "too_many_scopes");
        // R691: one that is there already is not one too many.
        t.as_(&ada, "POST", CUSTOM, body("x.n1")).await.refused(409, "scope_taken");
    }
}
