//! The table of refusals: a line for each slug, with its status, what is wrong, how to fix it, and the page that explains it.

use super::{Code, Row};

macro_rules! errors {
    ($($name:ident $status:literal $slug:literal: $detail:literal, $fix:literal $(, agent: $agent:literal)? $(, page: $page:literal)?;)*) => {
        #[expect(non_upper_case_globals, reason = "they are used like the variants of an enum")]
        impl Code {
            $(
                #[doc = $detail]
                pub const $name: Self = {
                    static ROW: Row = Row {
                        slug: $slug,
                        status: $status,
                        detail: $detail,
                        fix: $fix,
                        agent_fix: errors!(@option $($agent)?),
                        page: errors!(@text $($page)?),
                    };
                    Self(&ROW)
                };
            )*

            /// Every code, in documentation order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
    (@option) => { None };
    (@option $text:literal) => { Some($text) };
    (@text) => { "" };
    (@text $text:literal) => { $text };
}

errors! {
    InvalidJson 400 "invalid_json": "The body is not valid JSON in UTF-8.",
        "Send one JSON object, encoded in UTF-8, with the header Content-Type: application/json.";
    InvalidName 400 "invalid_name": "This name is not allowed.",
        "Choose a name of 1 to 63 letters a to z, digits and hyphens with at least one letter or digit, such as build-bot. The words accredit, archived, bulk, deploy, enroll, import, me, none, start-all and stop-all are reserved.",
        page: "/docs/agents/concepts/agents#names";
    InvalidText 400 "invalid_text": "This text is not allowed.",
        "Send {field} as 1 to {most} characters after trimming, without control, bidirectional or invisible characters. Only multi-line fields, such as body and text, may contain tabs and line ends.";
    InvalidLabels 400 "invalid_labels": "These labels are not allowed.",
        "Send labels as an object of at most 32 members, each with a name of 1 to 64 characters and a string of at most 128 characters.";
    InvalidNumber 400 "invalid_number": "This number is out of range.",
        "Send {field} as a whole number from {least} to {most}.";
    InvalidAgentUrl 400 "invalid_agent_url": "This URL is not allowed as the address of an agent.",
        "Send url as an https URL with a public host name, of at most 2000 characters. It must not contain a user name, an IP address, the name of a private network, or a fragment after #.",
        page: "/docs/agents/concepts/agents#registering";
    BeyondParent 400 "beyond_parent": "An agent cannot give the agents below it more than it has itself.",
        "Set {field} to at {bound} {value}.",
        agent: "Set {field} to at {bound} {value}. Your owner {owner} can give more.",
        page: "/docs/agents/concepts/tree#what-an-agent-may-give";
    InvalidEmail 400 "invalid_email": "This is not an e-mail address.",
        "Send one address of at most 254 bytes, such as ada@example.com.";
    WeakPassword 400 "weak_password": "This password is too short, too long or too easy to guess.",
        "Choose at least 8 characters and at most 256 bytes: best are some words that do not belong together. One common word, a name or an address is guessed, also with digits and signs around it.",
        page: "/docs/agents/concepts/people#passwords";
    UnknownRole 400 "unknown_role": "This role does not exist.",
        "Send role as one of: viewer, member, curator, admin.", page: "/docs/agents/concepts/permissions#roles";
    UnknownPreset 400 "unknown_preset": "This preset does not exist.",
        "Send preset as a name that GET /api/presets lists, such as worker.", page: "/docs/agents/concepts/presets";
    InvalidPresetName 400 "invalid_preset_name": "This name is not allowed for a preset.",
        "Choose a name of 1 to 32 lower-case letters a to z, digits and hyphens that starts and ends with a letter or digit.",
        page: "/docs/agents/concepts/presets";
    InvalidSource 400 "invalid_source": "This is not the name of a source of guides.",
        "Send it as app: and 1 to 63 lower-case letters a to z, digits and hyphens, such as app:crm.", page: "/docs/agents/concepts/guides";
    InvalidCode 400 "invalid_code": "This code does not work: it is unknown, has expired, or was used before.",
        "Open the newest link that you have, or get another one: with POST /auth/email/link or POST /auth/forgot, or from an admin of your tenant.",
        page: "/docs/agents/concepts/people#codes-of-links";
    InvalidTenant 400 "invalid_tenant": "This slug is not allowed for a tenant.",
        "Choose a tenant slug of 1 to 63 lower-case letters a to z, digits and hyphens that starts and ends with a letter or digit.";
    UnknownScope 400 "unknown_scope": "A requested scope does not exist.",
        "Send scope as one or more of the names in valid_scopes. The pattern noun.* covers all scopes below noun, and * covers all scopes.",
        page: "/docs/agents/concepts/permissions#scopes";
    ScopeTooWide 400 "scope_too_wide": "A credential cannot carry more than the credential that creates it, nor more than its agent's ceiling.",
        "{rest}To grant more, send the request as a caller that may do more. The limit is the agent's ceiling or, for a new agent, the ceiling of the agent above it.",
        agent: "{rest}To get more, ask your owner {owner}.",
        page: "/docs/agents/concepts/credentials#never-wider-never-longer";
    InvalidLifetime 400 "invalid_lifetime": "expires_in_days is out of range.",
        "Send expires_in_days as a whole number from 1 to 3650, or as null for a credential that never expires.",
        page: "/docs/agents/concepts/credentials#lifetimes";
    LifetimeTooLong 400 "lifetime_too_long": "A credential cannot outlive the credential that creates it.",
        "Leave the lifetime out to get the whole remaining one, which is {days}.",
        page: "/docs/agents/concepts/credentials#never-wider-never-longer";
    InvalidGrace 400 "invalid_grace": "grace_seconds is out of range.",
        "Send grace_seconds as a whole number from 0 to 86400, or from 60 to 86400 if you replace the credential that you present.",
        page: "/docs/agents/concepts/credentials#rotation";
    RotationKeepsRights 400 "rotation_keeps_rights": "A token that replaces itself keeps its scope and its expiry.",
        "Send the same request again without scope, preset and a lifetime.",
        page: "/docs/agents/concepts/credentials#rotation";
    InvalidCursor 400 "invalid_cursor": "This cursor is not valid for you, this list and these filters.",
        "Leave out cursor to start at the beginning. For each further page, send the next_cursor of the previous page with the same filters.",
        page: "/docs/agents/concepts/lists";
    ClosureNotFound 404 "closure_not_found": "There is no closure with this id that you may read.",
        "Use the id in closure, or in the header X-Accredit-Closure, of the answer to your own request. Admins can read every closure of their tenant.",
        page: "/docs/agents/concepts/closures";
    EpochsForgotten 410 "epochs_forgotten": "What came behind this epoch is no longer known, or the epoch was never given.",
        "Forget everything that you remember of credentials, and begin anew: GET /auth/epochs without after.",
        page: "/docs/agents/concepts/guard#starting-over";
    TooManyGuards 409 "too_many_guards": "The tenant has the maximum of 1000 guards at once.",
        "Wait a minute for the leases of guards that have ended, and let each process keep one name as long as it runs.",
        page: "/docs/agents/concepts/guard#epochs";
    GuardNameTaken 409 "guard_name_taken": "Another process asks with this guard's name, and has taken in more.",
        "Give each process a name of its own, such as one with a random end, and begin without after.",
        page: "/docs/agents/concepts/guard#starting-over";
    InvalidLimit 400 "invalid_limit": "limit is out of range.",
        "Send limit as a whole number from 1 to 200.", page: "/docs/agents/concepts/lists";
    InvalidFilter 400 "invalid_filter": "A filter has an unknown value.",
        "Send {field} as one of: {valid}.", page: "/docs/agents/concepts/lists";
    InvalidTime 400 "invalid_time": "This is not a valid time.",
        "Send {field} as an RFC 3339 time with Z or an offset, such as 2026-11-22T02:38:46Z or 2026-11-22T03:38:46+01:00.", page: "/docs/agents/concepts/audit#filters";
    InvalidHead 400 "invalid_head": "This is not a valid head of the audit trail.",
        "Send head as the server's log shows it after the words audit head: a number, a space (%20 in a URL) and 64 hexadecimal digits. You can also send the digits alone.",
        page: "/docs/agents/concepts/audit#verifying";
    CredentialInUrl 400 "credential_in_url": "The URL of this request holds a credential of this server. Proxies, logs and browsers keep URLs, so it may have leaked.",
        "Replace the credential where it is used, and revoke it with POST /auth/leaks {{\"token\": \"<the credential>\"}}. Send a credential only in the header Authorization: Bearer <token>.",
        page: "/docs/agents/concepts/credentials#credentials-in-texts-and-urls";
    InvalidIdempotencyKey 400 "invalid_idempotency_key": "The header Idempotency-Key is not valid.",
        "Send one Idempotency-Key of 1 to 255 ASCII characters, bare or in double quotes. It must not contain control characters or double quotes.",
        page: "/docs/agents/concepts/idempotency";

    InvalidScopeName 400 "invalid_scope_name": "This name is not allowed for a custom scope.",
        "Send name as x. followed by one or more parts of lower-case letters a to z, digits, - and _, with dots between the parts and at most 64 characters in all, such as x.crm.read.",
        page: "/docs/agents/concepts/permissions#custom-scopes";
    InvalidIdentifier 400 "invalid_identifier": "This is not allowed as the identifier of a resource.",
        "Send identifier as the address of the service, exactly as it knows itself: a whole https URL of at most 500 characters, without a user name and without a fragment after #, such as https://crm.example.com. Plain http is for a loopback host only. The address of this server cannot be registered.",
        page: "/docs/agents/concepts/resources#registering";
    InvalidTarget 400 "invalid_target": "The tenant has no resource with this identifier.",
        "Send resource once, as an identifier that GET /api/resources lists, byte by byte: https://a.example and https://a.example/ are two. An admin registers a resource with POST /api/resources. An app sends the one that its person was asked about, or leaves it out.",
        page: "/docs/agents/concepts/resources#getting-a-token";
    InvalidRequest 400 "invalid_request": "The form lacks a parameter or contains it twice.",
        "Send a form (application/x-www-form-urlencoded) that contains {field}=<value> exactly once.";
    UnsupportedGrant 400 "unsupported_grant_type": "This grant type is not supported here.",
        "Send grant_type as one of: {grants}.", page: "/docs/agents/concepts/oauth#grants";
    InvalidScope 400 "invalid_scope": "A requested scope does not exist.",
        "Send scope as names of GET /api/scopes or of your tenant's custom scopes, separated by spaces, or leave it out.",
        page: "/docs/agents/concepts/device#asking";
    AuthorizationPending 400 "authorization_pending": "Nobody has decided about this device yet.",
        "Wait for the number of seconds in interval, then send the same request again.",
        page: "/docs/agents/concepts/device#polling";
    SlowDown 400 "slow_down": "Nobody has decided about this device yet, and this request came too early.",
        "Wait for the number of seconds in interval, which is 5 more than before, then send the same request again.",
        page: "/docs/agents/concepts/device#polling";
    AccessDenied 400 "access_denied": "The request of this device was denied, or the account that approved it may not be used any more.",
        "Do not send this device code again. If it was denied by mistake, ask for a new one with POST /auth/device/code.",
        page: "/docs/agents/concepts/device#polling";
    DeviceCodeExpired 400 "expired_token": "This device code has expired.",
        "Ask for a new one with POST /auth/device/code.", page: "/docs/agents/concepts/device#polling";
    InvalidGrant 400 "invalid_grant": "What was sent for a token is unknown, has ended or was used before.",
        "Begin again: a device with POST /auth/device/code, an app by sending its person to /oauth/authorize.", page: "/docs/agents/concepts/oauth#grants";
    UnauthorizedClient 400 "unauthorized_client": "This token was issued to another client.",
        "Send the client_id of the client that the token was issued to.", page: "/docs/agents/concepts/oauth-clients#revoking";
    UnsupportedTokenType 400 "unsupported_token_type": "Only refresh tokens and access tokens of apps can be revoked here.",
        "Revoke any other credential with DELETE /auth/tokens/me, sent with that credential. A signed token of an agent ends with the credential that it was exchanged for.", page: "/docs/agents/concepts/oauth-clients#revoking";
    UnknownClient 400 "unknown_client": "No app with this client_id is known here.",
        "Send the client_id of a client that an admin of the person's tenant registered with POST /api/oauth/clients, or the https URL of a client's metadata document.",
        page: "/docs/agents/concepts/oauth-clients#the-client-id";
    RedirectUriMismatch 400 "redirect_uri_mismatch": "The app has not registered this redirect_uri.",
        "Send redirect_uri exactly as the client registered it. Only the port of http://127.0.0.1, http://[::1] and http://localhost may differ.",
        page: "/docs/agents/concepts/oauth-clients#redirect-uris";
    InvalidAuthorization 400 "invalid_authorization_request": "This request is longer than an address may be.",
        "Send at most 3000 characters of parameters to /oauth/authorize.", page: "/docs/agents/concepts/oauth-clients#asking";
    InvalidClientDocument 400 "invalid_client_document": "The document of this client cannot be used.",
        "Serve a JSON object of at most 10 KiB at the client_id, with status 200: client_id is the URL, client_name has 1 to 64 characters, at least one of redirect_uris is allowed here, token_endpoint_auth_method is none, private_key_jwt with jwks_uri or jwks, or left out, and no secret is in it.",
        page: "/docs/agents/concepts/oauth-clients#metadata-documents";
    InvalidRedirectUri 400 "invalid_redirect_uri": "These redirect URIs are not allowed.",
        "Send redirect_uris as 1 to 16 different URIs of at most 500 characters: https, http of 127.0.0.1, [::1] or localhost, or the scheme of an app of your own such as com.example.app:/cb, without a user name, a fragment, dot segments or encoded slashes.",
        page: "/docs/agents/concepts/oauth-clients#redirect-uris";

    SignInExpired 400 "sign_in_expired": "This sign-in through a provider was not begun in this browser, was finished before, or took more than ten minutes.",
        "Begin again at /login, or as a program with POST /auth/oidc/{provider}/start.",
        page: "/docs/agents/concepts/providers#the-steps";

    ScopeNotGrantable 400 "scope_not_grantable": "No approval can let the agent use this scope.",
        "{rest}Read the page in doc_url to see what can be asked for.",
        page: "/docs/agents/concepts/access#what-can-be-asked-for";
    ApprovalTooWide 400 "approval_too_wide": "You cannot approve more than was asked for, more than the role of the agent's owner allows, or more than you may use yourself.",
        "{rest}To approve nothing, send POST /api/access-requests/{request}/deny.",
        page: "/docs/agents/concepts/access#deciding";

    UnknownRelation 400 "unknown_relation": "This relation cannot be granted.",
        "Send relation as one of: viewer, editor.", page: "/docs/agents/concepts/sharing";
    UnknownAction 400 "unknown_action": "This action does not exist.",
        "Send action as one of: {valid}.", page: "/docs/agents/concepts/sharing";

    UnknownExpectation 400 "unknown_expectation": "expect must name scopes or presets that exist.",
        "Send expect as preset: and a name that GET /api/presets lists, such as preset:worker, or as scopes of GET /api/scopes with commas between them. You can also leave it out.",
        page: "/docs/agents/concepts/doctor#what-is-expected";

    InvalidPriority 400 "invalid_priority": "This priority does not exist.",
        "Send priority as one of: low, normal, high.", page: "/docs/agents/concepts/notifications";
    InvalidLevel 400 "invalid_level": "This level does not exist.",
        "Send level as one of: debug, info, warn, error.", page: "/docs/agents/concepts/lifecycle#logs";
    InvalidClientMetadata 400 "invalid_client_metadata": "This client cannot be registered.",
        "Send a JSON object with redirect_uris, such as {{\"client_name\": \"Planner\", \"redirect_uris\": [\"http://127.0.0.1/callback\"]}}.",
        page: "/docs/agents/concepts/oauth-clients#dynamic-registration";
    InvalidUrl 400 "invalid_url": "This URL is not allowed.",
        "Send {field} as a whole https URL without a user name, or as a path of this site that begins with /agents, /access, /guides, /docs or /notifications, of at most 2000 characters.",
        page: "/docs/agents/concepts/notifications";
    InvalidEnrolmentCode 400 "invalid_enrolment_code": "This enrolment code is unknown, used or expired, or its maker may not issue the agent's token any more.",
        "Get a new code: the agent's owner makes one with POST /api/agents/<name>/enrolment. It works once, for 15 minutes.",
        page: "/docs/agents/concepts/enrolment";
    InvalidOutboundUrl 400 "invalid_outbound_url": "This server does not call this URL.",
        "Send {field} as a whole https URL of at most 2000 characters, without a user name, a dot behind the host, or a fragment after #.",
        page: "/docs/agents/concepts/probes#hosts";
    UnknownEventKind 400 "unknown_event_kind": "This is not a kind of event.",
        "Send kinds as words of the list in doc_url, such as agent.state_changed, or as groups of them, such as agent.*. Leave it out to get all.",
        page: "/docs/agents/concepts/events#kinds";
    InvalidEvent 400 "invalid_event": "This is not the id of one of your events.",
        "Send the id of an event that GET /api/agents/me/inbox returned, such as evt_0000000000000042.",
        page: "/docs/agents/concepts/inbox";
    InvalidWait 400 "invalid_wait": "wait is out of range.",
        "Send wait as a whole number of seconds from 0 to 25.", page: "/docs/agents/concepts/inbox";
    DataTooLarge 400 "data_too_large": "data is larger than 16 KiB.",
        "Send at most 16384 bytes of JSON in data. Store larger content elsewhere and send its location.",
        page: "/docs/agents/concepts/inbox";
    InvalidHost 400 "invalid_host": "The header Host cannot be used as the server's address.",
        "Send the request to the name or the IP address of this server, with at most a port after it. Do not set the header Host yourself.",
        page: "/docs/agents/cli#the-address-in-the-script";

    UnknownKeyType 400 "unknown_key_type": "This type of key does not exist.",
        "Send type as one of: external, internal, github, slack, standard.", page: "/docs/agents/concepts/keys#types";
    InvalidWebhookSecret 400 "invalid_webhook_secret": "This text is not allowed as the secret of a webhook.",
        "Send value as 8 to 256 visible ASCII characters, or leave it out to let the server generate one.",
        page: "/docs/agents/concepts/keys#webhook-secrets";
    InvalidSecretName 400 "invalid_secret_name": "This name is not allowed for a secret.",
        "Choose a name of 1 to 64 upper-case letters A to Z, digits and _ that does not begin with a digit, such as GITHUB_TOKEN. Names that steer a shell or a program, such as PATH, and names that begin with ACCREDIT_ are reserved.",
        page: "/docs/agents/concepts/secrets#names-and-values";
    InvalidSecretValue 400 "invalid_secret_value": "This value is not allowed for a secret.",
        "Send the value of {name} as a text of 1 to 8192 bytes without control characters, except tabs and line ends.",
        page: "/docs/agents/concepts/secrets#names-and-values";
    InvalidProbe 400 "invalid_probe": "A field of this probe has a value that is not allowed.",
        "Send {field} as {expected}.", page: "/docs/agents/concepts/probes#fields";
    TierTooLow 400 "tier_too_low": "The operator of this server does not let agents of this tenant have a tier that is trusted more.",
        "Send tier as a whole number from {least} to 5, or ask the operator to change the variable lowest_tier.",
        page: "/docs/agents/concepts/agents#registering";
    ComputeTooLarge 400 "compute_too_large": "compute is larger than 4 KiB.",
        "Send at most 4096 bytes of JSON in compute.", page: "/docs/agents/concepts/agents#registering";
    InvalidStandardSecret 400 "invalid_standard_secret": "This text is not a secret of Standard Webhooks.",
        "Send value as 24 to 64 bytes in base64, with or without whsec_ before it, or leave it out to let the server generate one.",
        page: "/docs/agents/concepts/keys#webhook-secrets";
    RotationTooWide 400 "rotation_too_wide": "A rotated key cannot carry more than you can grant yourself.",
        "Rotate the key with a session of the agent's owner, or create a key that carries less: POST /api/agents/{agent}/keys {{\"name\": \"…\", \"scope\": […]}}.",
        agent: "Ask your owner {owner} to rotate the key, or create a key that carries less: POST /api/agents/{agent}/keys {{\"name\": \"…\", \"scope\": […]}}.",
        page: "/docs/agents/concepts/keys#rotation";

    HookRefused 401 "hook_refused": "This request is not signed with the secret of such a key, or it is too old.",
        "Send it to the id of a key of type github, slack or standard, signed with the secret of that key over the raw body, at most five minutes ago.",
        page: "/docs/agents/concepts/hooks#signatures";
    InvalidClient 401 "invalid_client": "The client is unknown, or has not proved who it is.",
        "Send client_id. A confidential client adds its secret: in the header Authorization: Basic, or as client_secret.",
        page: "/docs/agents/concepts/oauth-clients#the-token-requests";
    MissingCredential 401 "missing_credential": "This route needs a credential, and the request has none.",
        "Send the header Authorization: Bearer <token>. A person gets a token with POST /auth/token {{\"email\": \"…\", \"password\": \"…\"}}; an agent gets one from its owner, or for a one-time code with POST /api/agents/enroll {{\"code\": \"…\"}}.",
        page: "/docs/agents/concepts/credentials#sending-one";
    InvalidToken 401 "invalid_token": "This credential is malformed or unknown.",
        "Send the whole token as it was issued, in the header Authorization: Bearer <token>. If you do not have it: a person signs in with POST /auth/token, an agent asks its owner for a new token.",
        page: "/docs/agents/concepts/credentials#sending-one";
    InvalidProof 401 "invalid_dpop_proof": "This request does not prove the key that its credential is bound to.",
        "Send in the header DPoP one new JWT for this request, signed by the key: typ dpop+jwt, alg ES256 or EdDSA, jwk the public key, htm the method, htu the address without its query, iat now, jti a new text, and with a credential ath, the SHA-256 of the credential in base64url.",
        page: "/docs/agents/concepts/dpop#refusals";
    TokenExpired 401 "token_expired": "This credential has expired.",
        "Sign in again with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}}. To create a new personal access token, send POST /auth/tokens {{\"name\": \"…\"}} with that session.",
        agent: "Ask {owner} for a new token: {step}.",
        page: "/docs/agents/concepts/credentials#lifetimes";
    TokenRevoked 401 "token_revoked": "This credential was revoked.",
        "Sign in again with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}}. To create a new personal access token, send POST /auth/tokens {{\"name\": \"…\"}} with that session.",
        agent: "Ask {owner} for a new token: {step}.",
        page: "/docs/agents/concepts/credentials#revocation";
    AccountDeactivated 401 "account_deactivated": "The account behind this credential is deactivated.",
        "Ask an admin of your tenant to activate the account.",
        page: "/docs/agents/concepts/credentials#revocation";
    LoginFailed 401 "login_failed": "The address, the password or the tenant is wrong, or the account is not active.",
        "Check the address, the password and the tenant, and sign in again. If you forgot the password, ask an admin to set one with POST /api/users/{{id}}/set-password.",
        page: "/docs/agents/concepts/credentials#sessions";

    SecondFactorRequired 401 "second_factor_required": "The sign-in is right so far, and the account has a second factor.",
        "Send POST /auth/factor/verify {{\"ticket\": \"<the ticket of this response>\", \"code\": \"<the code of the app, or a recovery code>\"}} within 10 minutes.",
        page: "/docs/agents/concepts/second-factor#signing-in";
    TicketEnded 401 "ticket_ended": "This ticket is unknown, used or has ended, or the account was changed meanwhile.",
        "Sign in again from the beginning. A ticket lives for 10 minutes.",
        page: "/docs/agents/concepts/second-factor#signing-in";

    OverBudget 402 "over_budget": "This agent has spent more than its budget.",
        "Raise the budget or start a new count: PATCH /api/agents/{agent} {{\"budget_cents\": <more>}} or {{\"spent_cents\": 0}}.",
        agent: "Stop your work, or ask {owner} to send PATCH /api/agents/{agent} {{\"budget_cents\": <more>}}. You can still send GET /api/auth/whoami.",
        page: "/docs/agents/concepts/agents#budget";

    ScopeDenied 403 "scope_denied": "This credential lacks a scope that this route needs.",
        "{person_steps}.",
        agent: "Ask for it: {steps}.";
    PersonRequired 403 "person_required": "Only people may do this, whatever an agent's credential carries.",
        "Sign in as a person with POST /auth/token and send the token of that session.",
        agent: "Ask {owner}, or an admin of your tenant, to do it{tell}.",
        page: "/docs/agents/concepts/permissions#for-people-only";
    AgentRequired 403 "agent_required": "Only agents may do this.",
        "Send an agent's token. POST /api/agents {{\"name\": \"…\"}} registers an agent and returns its token in auth_token.",
        page: "/docs/agents/concepts/agents";
    SessionRequired 403 "session_required": "Only a session may do this, no other credential.",
        "Sign in with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}} and send the access_token of the response.",
        agent: "Ask {owner} to sign in and do it{tell}.",
        page: "/docs/agents/concepts/permissions#session-only";
    WrongPassword 403 "wrong_password": "The current password is wrong.",
        "Send the password that you sign in with. If you forgot it, ask an admin to set one with POST /api/users/{{id}}/set-password.",
        page: "/docs/agents/concepts/people#passwords";
    WrongCode 403 "wrong_code": "This code is wrong, or it was used before.",
        "Wait until the app shows its next code, and send that one. If it is refused too, set the clock of the device. Without the device, send one of your recovery codes that you have not used.",
        page: "/docs/agents/concepts/second-factor#codes";
    ReauthenticationRequired 403 "reauthentication_required": "This needs a proof of who you are that is younger than 15 minutes.",
        "{step}, then send the same request again.",
        page: "/docs/agents/concepts/second-factor#proving-again";
    SecondFactorSetupRequired 403 "second_factor_setup_required": "Your tenant demands a second factor, and your account has none.",
        "Send POST /auth/factor with this session, put the secret of the response into an app, and send POST /auth/factor/confirm {{\"code\": \"<the code that it shows>\"}}.",
        page: "/docs/agents/concepts/second-factor#when-it-is-demanded";
    WayDisabled 403 "way_disabled": "Your tenant does not allow this way to sign in.",
        "Sign in in another way. GET /auth/ways lists those of the usual tenant, and an admin can allow more with PATCH /api/tenant {{\"ways\": […]}}.",
        page: "/docs/agents/concepts/tenant#ways-to-sign-in";
    PermissionDenied 403 "permission_denied": "You may read this object, but not perform this action on it.",
        "Ask its owner {owner}, or an admin of your tenant, to do it.",
        agent: "Ask its owner {owner} to do it.",
        page: "/docs/agents/concepts/permissions#relations";
    AgentPaused 403 "agent_paused": "This agent is paused.",
        "Resume the agent with POST /api/agents/{agent}/resume.",
        agent: "Wait, and repeat GET /api/auth/whoami until agent_state is running. {owner} can resume you.",
        page: "/docs/agents/concepts/agents#states";
    AgentStopped 403 "agent_stopped": "This agent is stopped.",
        "Start the agent with POST /api/agents/{agent}/start.",
        agent: "Stop your work. {owner} can start you again.",
        page: "/docs/agents/concepts/agents#states";
    OwnLogOnly 403 "own_log_only": "Only the agent itself may write to its log.",
        "Let the agent write to its log. To tell the agent something, send POST /api/agents/{agent}/messages {{\"text\": \"…\"}}.",
        agent: "Send the same body to POST /api/agents/me/logs, which is your own log.",
        page: "/docs/agents/concepts/lifecycle#logs";
    HostNotAllowed 403 "host_not_allowed": "The operator of this server has not allowed requests to this host.",
        "Ask the operator to add {host} to the variable outbound_hosts, or send a URL of a host that is on it.",
        page: "/docs/agents/concepts/probes#hosts";
    AlreadyBootstrapped 403 "already_bootstrapped": "This server already has its first tenant and admin.",
        "Sign in with POST /auth/token, or ask your admin for an account.";
    WrongOperatorSecret 403 "wrong_operator_secret": "The operator secret is wrong.",
        "Send the value of the variable operator_secret in secret. The operator has set it; cargo xtask up makes one, which is in the file .accredit/secrets.toml.";
    CsrfFailed 403 "csrf_failed": "A change that is sent with a cookie needs this site's own origin and the CSRF token.",
        "Send the token as Authorization: Bearer <token> instead of the cookie. A page of this site sends the header x-csrf-token.",
        page: "/docs/agents/concepts/credentials#cookies";
    CrossSite 403 "cross_site_request": "A page of another site sent this request.",
        "Send the request from a page of this site, or from a program, without the headers Origin and Sec-Fetch-Site.",
        page: "/docs/agents/concepts/credentials#requests-of-other-sites";
    ProviderRefused 403 "provider_refused": "The provider did not sign you in.",
        "Begin again at /login, and agree to what the provider asks there, or sign in in another way.",
        page: "/docs/agents/concepts/providers#what-can-go-wrong";
    NotProvedAgain 403 "not_proved_again": "The provider did not say that you signed in there just now.",
        "Prove it in another way: by your password, your second factor or a mailed link.",
        page: "/docs/agents/concepts/providers#proving-again";
    IdentityInvalid 403 "identity_invalid": "The provider's answer is not a valid proof of your identity.",
        "Begin again at /login. If it happens again, tell the operator of this server the request_id: the log says what was wrong.",
        page: "/docs/agents/concepts/providers#what-can-go-wrong";
    NoAccount 403 "no_account": "No account of this server belongs to your identity at this provider.",
        "Ask an admin for an account and sign in to it in another way. Then link your identity under Security.",
        page: "/docs/agents/concepts/providers#which-account";
    AddressNotVerified 403 "address_not_verified": "There is an account with your address, but nobody has proved yet that the address is its owner's.",
        "Sign in to the account in another way. Then link your identity on the page /security.",
        page: "/docs/agents/concepts/providers#which-account";
    OtherIdentity 403 "other_identity": "The account with your address belongs to another sign-in of this provider, perhaps of a person who had the address before you.",
        "If the account is yours, sign in to it in another way, and link this sign-in on the page /security. Otherwise ask an admin to change the address of that account, or to unlink its sign-ins.",
        page: "/docs/agents/concepts/providers#which-account";

    NotFound 404 "not_found": "This path does not exist.",
        "Send GET /api?for=me with your credential to list the routes that you can use, or GET /llms.txt to read the manual of this server.";
    AgentNotFound 404 "agent_not_found": "This agent does not exist, or you may not read it.",
        "Send GET /api/agents to list the agents that you may read. Names are in lower case.";
    ParentNotFound 404 "parent_not_found": "The agent in parent does not exist, or you may not read it.",
        "Send parent as the name of one of your agents. GET /api/agents lists the agents that you may read.",
        agent: "Send parent as your own name or the name of an agent below you, or leave it out.",
        page: "/docs/agents/concepts/tree";
    OwnerNotFound 404 "owner_not_found": "The new owner is not an active user of your tenant with the role member or higher.",
        "Name an active user with the role member or higher, by address or id. An admin can list them with GET /api/users?active=true. In a query, write + as %2B.",
        page: "/docs/agents/concepts/tree#giving-away";
    ArchivedNotFound 404 "archived_agent_not_found": "This archived agent does not exist, or it is not yours.",
        "Send GET /api/agents/archived to list the archived agents that you may restore.",
        page: "/docs/agents/concepts/agents#archiving";
    KeyNotFound 404 "key_not_found": "The agent has no such key, or you may not read it.",
        "Send GET /api/agents/{agent}/keys to list the keys of this agent that you may read.", page: "/docs/agents/concepts/keys";
    SecretNotFound 404 "secret_not_found": "The agent has no secret with this name.",
        "Send GET /api/agents/{agent}/secrets to list the names of the agent's secrets.",
        page: "/docs/agents/concepts/secrets";
    ProbeNotFound 404 "probe_not_found": "The agent has no such probe.",
        "Send GET /api/agents/{agent}/probes to list the agent's probes.", page: "/docs/agents/concepts/probes";
    FederatedCredentialNotFound 404 "federated_credential_not_found": "The agent has no such federated credential.",
        "Send GET /api/agents/{agent}/federated-credentials to list the federated credentials of this agent.", page: "/docs/agents/concepts/workload-identity";
    UserNotFound 404 "user_not_found": "Your tenant has no such user.",
        "Send GET /api/users to list the users of your tenant.";
    TokenNotFound 404 "token_not_found": "This token does not exist, or it is not yours.",
        "Send GET /auth/tokens to list your personal access tokens. An admin can list every credential of the tenant with GET /auth/admin/tokens.";
    TenantNotFound 404 "tenant_not_found": "This server has no tenant with this slug.",
        "Send tenant as the slug of an existing tenant. The first one is called main unless the bootstrap named it.",
        page: "/docs/agents/concepts/people#tenants";
    ResourceNotFound 404 "resource_not_found": "Your tenant has no such resource.",
        "Send GET /api/resources to list the resources of your tenant.", page: "/docs/agents/concepts/resources";
    ScopeNotFound 404 "scope_not_found": "The tenant has no custom scope with this name.",
        "Send GET /api/scopes/custom to list the tenant's custom scopes.";
    RequestNotFound 404 "request_not_found": "This request does not exist, or you may not read the agent that made it.",
        "Send GET /api/access-requests to list the requests that you may see.", page: "/docs/agents/concepts/access";
    GuideNotFound 404 "guide_not_found": "Your tenant has no guide of this source and name.",
        "Send GET /api/guides to list the guides with their sources and names.", page: "/docs/agents/concepts/guides";
    SourceNotFound 404 "source_not_found": "Your tenant has no guides of this source.",
        "Send GET /api/guides to list the guides with their sources.", page: "/docs/agents/concepts/guides";
    PresetNotFound 404 "preset_not_found": "Your tenant has no preset with this name.",
        "Send GET /api/presets to list the presets of your tenant.", page: "/docs/agents/concepts/presets";
    SubjectNotFound 404 "subject_not_found": "Your tenant has no such user, and no agent with this name that you may read.",
        "Send subject as a user's address or id, or as the name or id of an agent. GET /api/agents lists the agents that you may read.",
        page: "/docs/agents/concepts/sharing";
    NotificationNotFound 404 "notification_not_found": "You have no such notification.",
        "Send GET /api/notifications to list your notifications.";
    MailNotFound 404 "mail_not_found": "Your tenant has no such mail.",
        "Send GET /api/mail/outbox to list the tenant's mails.", page: "/docs/agents/concepts/mail#outbox";
    WebhookNotFound 404 "webhook_not_found": "You have no such webhook.",
        "Send GET /api/webhooks to list your webhooks.", page: "/docs/agents/concepts/webhooks";
    DeliveryNotFound 404 "delivery_not_found": "This webhook has no such delivery.",
        "Send GET /api/webhooks/{webhook}/deliveries to list its deliveries.", page: "/docs/agents/concepts/webhooks#deliveries";
    RecipientNotFound 404 "recipient_not_found": "No such active user may read this agent.",
        "Leave out user to notify the agent's owner.",
        agent: "Leave out user to notify your owner {owner}, or ask {owner} for the address of a user who may read you.",
        page: "/docs/agents/concepts/notifications";
    ProviderNotFound 404 "provider_not_found": "People cannot sign in to this server through a provider of this name.",
        "Send GET /auth/oidc to list the providers.", page: "/docs/agents/concepts/providers";
    IdentityNotFound 404 "identity_not_found": "You have no such identity.",
        "Send GET /auth/identities to list your identities.", page: "/docs/agents/concepts/providers#linking";
    ClientNotFound 404 "client_not_found": "Your tenant has no such OAuth client.",
        "Send GET /api/oauth/clients to list the clients.", page: "/docs/agents/concepts/oauth-clients#registering";
    AppNotFound 404 "app_not_found": "You have let no such app in.",
        "Send GET /auth/apps to list the apps that you let in.", page: "/docs/agents/concepts/oauth-clients#what-a-person-sees";
    DeviceNotFound 404 "device_request_not_found": "No device waits for a decision with this code.",
        "Compare the code with the one that the device shows, or start again at the device: a code lives for 10 minutes and is decided about once.",
        page: "/docs/agents/concepts/device#deciding";
    SessionNotFound 404 "session_not_found": "You have no such session.",
        "Send GET /auth/sessions to list your sessions.";

    NoSecondFactor 404 "no_second_factor": "The account has no second factor, or it is not being set up.",
        "Send GET /auth/factor to see whether you have one, or POST /auth/factor to set one up.",
        page: "/docs/agents/concepts/second-factor#setting-it-up";

    CliNotBuilt 404 "cli_not_built": "This server offers no CLI, because none was built.",
        "Use HTTP instead, which needs no CLI. GET /docs/agents/ begins with the first calls. The operator of this server can put a CLI into its folder dist.",
        page: "/docs/agents/cli#when-none-was-built";
    ArtifactNotFound 404 "artifact_not_found": "This server does not offer this file.",
        "Request one of the files that GET /cli/manifest.json lists, by its url.",
        page: "/docs/agents/cli#downloads";

    MethodNotAllowed 405 "method_not_allowed": "This path does not support this method.",
        "Use a method from the header Allow. GET /api lists every route with its method.",
        agent: "Use a method from the header Allow, which names those that agents can use here. GET /api?for=me lists your routes.";

    NameTaken 409 "name_taken": "This name and its variants with -2 to -100 are taken.",
        "Choose another name.", page: "/docs/agents/concepts/agents#names";
    IdentityTaken 409 "identity_taken": "This identity is linked to another account.",
        "Sign in with it to use that account. To use it with this one, first unlink it there.", page: "/docs/agents/concepts/providers#linking";
    TooManyIdentities 409 "too_many_identities": "You have linked as many identities as one person can have.",
        "Unlink one that you no longer use: DELETE /auth/identities/<id>. GET /auth/identities lists them.", page: "/docs/agents/concepts/providers#linking";
    LastIdentity 409 "last_identity": "This identity is your only way to sign in.",
        "First set a password with POST /auth/password {{\"new\": \"…\"}}, or link another identity.", page: "/docs/agents/concepts/providers#linking";
    ParentOfAnother 409 "parent_of_another_owner": "An agent and the agent above it must have the same owner.",
        "Send parent as the name of an agent of the same owner, or leave it out.",
        agent: "Send parent as your own name or the name of an agent below you, or leave it out.",
        page: "/docs/agents/concepts/tree";
    ParentHalted 409 "parent_halted": "The agent above is paused or stopped, and so are all agents below it.",
        "First send POST /api/agents/{parent}/{verb}, or ask its owner {owner} to send it. Then send the same request again.",
        page: "/docs/agents/concepts/tree#states";
    IllegalState 409 "illegal_state": "The agent's state does not allow this step.",
        "Send POST /api/agents/{agent}/<step> with one of these steps: {legal}.",
        page: "/docs/agents/concepts/lifecycle#steps";
    NoneChanged 409 "none_changed": "None of these agents was changed.",
        "Follow the fix of each agent in results.",
        page: "/docs/agents/concepts/lifecycle#many-at-once";
    TreeCycle 409 "tree_cycle": "An agent cannot be below itself.",
        "Send parent as the name of an agent that is not below this one, or as null.",
        page: "/docs/agents/concepts/tree";
    TreeTooDeep 409 "tree_too_deep": "The tree of agents is at most 8 deep.",
        "Send parent as an agent closer to the root. GET /api/agents/{parent} names the agent above it.",
        page: "/docs/agents/concepts/tree";
    HasChildren 409 "has_children": "This agent has agents below it, which would be archived with it.",
        "Send the same request with ?confirm=true to archive this agent and the {count} below it. GET /api/agents?parent={agent} lists the agents directly below it.",
        page: "/docs/agents/concepts/agents#archiving";
    HasParent 409 "has_parent": "An agent below another agent must have the same owner.",
        "Give away the whole tree from its root, or send \"parent\": null in the same request.",
        page: "/docs/agents/concepts/tree#giving-away";
    TooManyAgents 409 "too_many_agents": "This tree has more than 100 agents.",
        "Export the agents directly below it one by one. GET /api/agents?parent=<name> lists them.",
        page: "/docs/agents/concepts/tree#export-and-import";
    EmailTaken 409 "email_taken": "A user of this tenant already has this address.",
        "Send GET /api/users?q=<address> to find that user, or choose another address.";
    SameEmail 409 "same_email": "This is the address that you have already, however it is written.",
        "Send email as another address.", page: "/docs/agents/concepts/people#your-own-address";
    UserDeactivated 409 "user_deactivated": "The account of this user is deactivated, so no link could let anybody in.",
        "Send POST /api/users/{user}/activate first, then the same request again.",
        page: "/docs/agents/concepts/people#deactivated-accounts";
    AlreadyJoined 409 "already_joined": "This user has a password already, and needs no invitation.",
        "For a link to set a new password, send POST /api/users/{user}/reset-password.",
        page: "/docs/agents/concepts/people#invitations";
    OwnPassword 409 "own_password": "This route sets the passwords of others.",
        "Change your own password with POST /auth/password {{\"current\": \"…\", \"new\": \"…\"}}.",
        page: "/docs/agents/concepts/people#passwords";
    SelfDeactivation 409 "self_deactivation": "You cannot deactivate your own account.",
        "Ask another admin of your tenant to do it. GET /api/users?role=admin&active=true lists the admins. To end your other sessions, send DELETE /auth/sessions; to end this one, send POST /auth/logout.",
        page: "/docs/agents/concepts/people#deactivated-accounts";
    SelfDeletion 409 "self_deletion": "You cannot delete your own account.",
        "Ask another admin of your tenant to do it. GET /api/users?role=admin&active=true lists the admins.",
        page: "/docs/agents/concepts/people#deleting-a-user";
    LastAdmin 409 "last_admin": "This user is the last active admin of the tenant who can sign in by the ways that it allows, and it must keep one.",
        "Make another user an admin first, who can sign in: PATCH /api/users/<id> {{\"role\": \"admin\"}}. GET /api/users lists the users, and GET /api/tenant the ways.",
        page: "/docs/agents/concepts/people#changing-a-user";
    OwnsAgents 409 "owns_agents": "This user owns agents, and every agent must have an owner.",
        "Send the same request with ?agents=transfer:<id or address> to give the {count} to another user, or with ?agents=archive to archive them. GET /api/agents?owner={user} lists the agents.",
        page: "/docs/agents/concepts/people#deleting-a-user";
    SecondFactorExists 409 "second_factor_exists": "The account has a second factor already.",
        "Remove it with DELETE /auth/factor first, then send POST /auth/factor again.",
        page: "/docs/agents/concepts/second-factor#removing-it";
    OwnFactorFirst 409 "own_factor_first": "Before you can demand a second factor of others, you need one yourself.",
        "Set up your own second factor with POST /auth/factor and POST /auth/factor/confirm, then send the same request again.",
        page: "/docs/agents/concepts/tenant#demanding-a-second-factor";
    LastWayIn 409 "last_way_in": "With these ways no admin of the tenant could sign in.",
        "Send ways with at least one way that an active admin can use: password needs an admin with a password, link needs mail, oidc needs an admin who has signed in with a provider.",
        page: "/docs/agents/concepts/tenant#ways-to-sign-in";
    TenantTaken 409 "tenant_taken": "Another tenant already has this slug.",
        "Choose another slug.";
    ResourceTaken 409 "resource_taken": "A resource with this identifier is registered on this server already, by your tenant or by another one.",
        "Look with GET /api/resources whether your tenant has it. If not, ask the operator which tenant the service belongs to: tokens for one identifier are those of one tenant.",
        page: "/docs/agents/concepts/resources#registering";
    ScopeTaken 409 "scope_taken": "The tenant already has a custom scope with this name.",
        "Use the existing scope, which GET /api/scopes/custom lists, or choose another name.";
    TooManyScopes 409 "too_many_scopes": "The tenant has the maximum of 100 custom scopes.",
        "Delete a custom scope that nobody needs with DELETE /api/scopes/custom?name=<name>.";
    TooManyPresets 409 "too_many_presets": "A tenant can create or change at most 50 presets, with at most 1000 versions each.",
        "Use another preset that GET /api/presets lists.", page: "/docs/agents/concepts/presets";
    PresetInUse 409 "preset_in_use": "Agents have this preset.",
        "Give these agents another preset with PATCH /api/agents/<name> {{\"preset\": \"…\"}}, then send the request again.",
        page: "/docs/agents/concepts/presets";
    PresetBuiltIn 409 "preset_built_in": "This preset is built in, and the tenant has no version of its own that could be deleted.",
        "Create a version of your own with PUT /api/presets/{preset} {{\"scope\": […]}}, or leave the preset as it is.",
        page: "/docs/agents/concepts/presets";
    TooManySecrets 409 "too_many_secrets": "An agent can have at most 64 secrets.",
        "Delete a secret that nobody needs with DELETE /api/agents/{agent}/secrets/<name>. GET /api/agents/{agent}/secrets lists the names.",
        page: "/docs/agents/concepts/secrets";
    TooManyProbes 409 "too_many_probes": "An agent can have at most 16 probes.",
        "Delete a probe that nobody needs with DELETE /api/agents/{agent}/probes/<its id>. GET /api/agents/{agent}/probes lists them.",
        page: "/docs/agents/concepts/probes";
    ProbeTaken 409 "probe_taken": "The agent already has a probe with this name.",
        "Send another name, or delete the existing probe first: DELETE /api/agents/{agent}/probes/{id}.",
        page: "/docs/agents/concepts/probes";
    TooManyGrants 409 "too_many_grants": "This agent or key has the maximum of 1000 grants.",
        "Delete a grant that nobody needs with DELETE {path}?subject=<address or name>.";
    KeyTaken 409 "key_taken": "The agent already has a key with this name and type.",
        "Send another name, or send POST /api/agents/{agent}/keys/{id}/rotate to replace the secret of the existing key.",
        page: "/docs/agents/concepts/keys#names";
    NotDeploying 409 "not_deploying": "The agent is not being deployed, so its deployment cannot fail.",
        "Nothing is left to report. GET /api/agents/{agent}/deploy-status says what has become of the last deployment.", page: "/docs/agents/concepts/deployment#the-status";
    WebhookOff 409 "webhook_off": "This webhook is turned off.",
        "Turn it on first: PATCH /api/webhooks/{webhook} {{\"state\": \"active\"}}.", page: "/docs/agents/concepts/webhooks#off";
    DeliveryWithheld 409 "delivery_withheld": "Nothing is left of this delivery to send: the person of the webhook could not see its event any more.",
        "Later events arrive once that person may read the agent again. What happened meanwhile is in the audit trail: GET /api/audit.",
        page: "/docs/agents/concepts/webhooks#deliveries";
    WebhookWithoutSecret 409 "webhook_without_secret": "The operator has revoked the secret of this webhook, so it cannot be turned on.",
        "Give it another one first: POST /api/webhooks/{webhook}/rotate. Then turn it on.", page: "/docs/agents/concepts/webhooks#off";
    TooManyApiKeys 409 "too_many_api_keys": "The agent has the maximum of 500 keys.",
        "Delete a key that nobody needs with DELETE /api/agents/{agent}/keys/<its id>. GET /api/agents/{agent}/keys lists the keys.",
        page: "/docs/agents/concepts/keys";
    FederatedCredentialTaken 409 "federated_credential_taken": "The agent already has a federated credential with this name.",
        "Send another name, or delete the existing one with DELETE /api/agents/{agent}/federated-credentials/<its id>. GET /api/agents/{agent}/federated-credentials lists them.",
        page: "/docs/agents/concepts/workload-identity#trusting";
    TooManyFederatedCredentials 409 "too_many_federated_credentials": "The agent has the maximum of 32 federated credentials.",
        "Delete one that nobody needs with DELETE /api/agents/{agent}/federated-credentials/<its id>. GET /api/agents/{agent}/federated-credentials lists them.",
        page: "/docs/agents/concepts/workload-identity#trusting";
    KeyEnded 409 "key_ended": "This key has expired or was revoked, so it cannot be rotated.",
        "Send DELETE /api/agents/{agent}/keys/{id}, then POST /api/agents/{agent}/keys {{\"name\": \"…\"}} to create a new key. The name of the deleted key can be used again.",
        page: "/docs/agents/concepts/keys#rotation";
    InboxFull 409 "inbox_full": "This agent's inbox holds the maximum of 10000 events.",
        "Wait until the agent has acknowledged events with POST /api/agents/me/inbox/ack, then send the message again.",
        page: "/docs/agents/concepts/inbox";
    QuotaReached 409 "quota_reached": "A quota is reached: this person or this tenant stores as much as it may.",
        "{free}. An admin can read who stores how much with GET /api/usage, and the operator can raise the variable quotas.",
        agent: "Ask {owner} to make room. {free}.",
        page: "/docs/agents/concepts/quotas";
    AlreadyGranted 409 "already_granted": "The agent's token can already use everything that was asked for.",
        "Send the request that needs the scope, with the agent's token. GET /api/auth/whoami lists everything that the token can use.",
        page: "/docs/agents/concepts/access#asking";
    TooManyRequests 409 "too_many_access_requests": "The agent has the maximum of 20 open requests.",
        "Wait until {owner} has decided some of them, or withdraw one that you no longer need with DELETE /api/access-requests/<its id>. GET /api/access-requests?state=open lists them.",
        page: "/docs/agents/concepts/access#asking";
    RecentlyDenied 409 "recently_denied": "A person has denied this agent the same within the last hour.",
        "Do not ask for it again before {until}. Go on with something else.",
        page: "/docs/agents/concepts/access#denied";
    AlreadyDecided 409 "already_decided": "This request was already decided.",
        "Send GET /api/access-requests/{request} to see the decision. To revoke an approval, send POST /api/access-requests/{request}/revoke.",
        agent: "Send GET /api/access-requests/{request} to see the decision. Only open requests can be withdrawn. {owner} can revoke an approval.",
        page: "/docs/agents/concepts/access#deciding";
    NothingApproved 409 "nothing_approved": "This request has no approval that could be revoked.",
        "Send GET /api/access-requests/{request} to see its state. To refuse an open request, send POST /api/access-requests/{request}/deny.",
        page: "/docs/agents/concepts/access#deciding";
    TokenEnded 409 "token_ended": "This token has expired or was revoked, so it cannot be rotated.",
        "Create a new token with POST /auth/tokens {{\"name\": \"…\"}} from a session.",
        page: "/docs/agents/concepts/pats#rotation";
    AppToken 409 "app_token": "This token is an app's, which renews it itself, so it cannot be rotated.",
        "To end it, send DELETE /auth/tokens/{token}. A token of your own is made with POST /auth/tokens.",
        page: "/docs/agents/concepts/oauth-clients#what-a-person-sees";
    PublicClient 409 "public_client": "This client is public: it has no secret that could be replaced.",
        "Register a confidential client with POST /api/oauth/clients {{\"name\": \"…\", \"redirect_uris\": […], \"confidential\": true}}.",
        page: "/docs/agents/concepts/oauth-clients#registering";
    TokenReplaced 409 "token_replaced": "This token was already replaced. It works until its grace period ends, and cannot be rotated again.",
        "Use the token that replaced it. If that token is lost, send POST /auth/tokens/{successor}/rotate from a session.",
        agent: "Use the token that replaced it. If the request that replaced it had an Idempotency-Key, repeat that request to get the token again. If the token is lost, ask {owner} for {step} before the grace period ends.",
        page: "/docs/agents/concepts/credentials#rotation";
    IdempotencyEnded 409 "idempotency_ended": "The request with this Idempotency-Key was carried out, but a credential in its response has ended since.",
        "Look with GET at what the request made, and issue a new credential there if one is needed. To do everything anew, send the request with a new Idempotency-Key.",
        page: "/docs/agents/concepts/idempotency";
    IdempotencyOtherCredential 409 "idempotency_other_credential": "The first response to this Idempotency-Key holds a secret, so only the credential that received it can get it again.",
        "Repeat the request with the credential that sent it first, or send it with a new Idempotency-Key to do it anew.",
        page: "/docs/agents/concepts/idempotency";

    BodyTooSlow 408 "body_too_slow": "The body came too slowly, so the server stopped reading it. Nothing was changed.",
        "Open a new connection and send the whole request again without long pauses.";

    PreconditionFailed 412 "precondition_failed": "This request is to be carried out under a condition only, and this server has no versions to compare with.",
        "Leave the header {header} out, and send the request again.";
    BodyTooLarge 413 "body_too_large": "The body is larger than this route takes.",
        "Send a body of at most {most} bytes.";

    UnsupportedMediaType 415 "unsupported_media_type": "The body is not of the media type that this route takes.",
        "Send the body as {type}, and say so in the header Content-Type: {type}.";

    RangeNotSatisfiable 416 "range_not_satisfiable": "The range begins after the end of the file.",
        "Request a range that begins before the size, which follows the slash in the header Content-Range, or leave out Range.",
        page: "/docs/agents/cli#downloads";

    ValidationError 422 "validation_error": "A field is missing, unknown or of the wrong type.",
        "Fix every field that fields lists, and send the request again. The page in doc_url lists all fields of the route.";
    CredentialInText 422 "credential_in_text": "A text of this request holds a credential of this server. Nothing was stored.",
        "Remove the credential from the fields that fields lists, and send the request again. Replace the credential where it is used, and revoke it with POST /auth/leaks {{\"token\": \"<the credential>\"}}: others may have read the text before.",
        page: "/docs/agents/concepts/credentials#credentials-in-texts-and-urls";
    IdempotencyMismatch 422 "idempotency_mismatch": "This Idempotency-Key was already used with another body.",
        "Send the first body again, or use a new Idempotency-Key for the new body.",
        page: "/docs/agents/concepts/idempotency";

    TooManyAttempts 429 "too_many_attempts": "There were too many wrong tries for this account from this address.",
        "Wait for the number of seconds in the header Retry-After, then try again.",
        page: "/docs/agents/concepts/credentials#sessions";
    TooManySignIns 429 "too_many_sign_ins": "There were too many sign-ins through providers from this address.",
        "Wait for the number of seconds in the header Retry-After, then begin again.", page: "/docs/agents/concepts/providers#what-can-go-wrong";
    TooManySignedTokens 429 "too_many_signed_tokens": "Too many signed tokens that rest on this credential have not ended yet.",
        "Use a signed token until its end instead of getting one for each request. Wait for the number of seconds in the header Retry-After.",
        page: "/docs/agents/concepts/resources#getting-a-token";
    TooManyFederatedTokens 429 "too_many_federated_tokens": "This federated credential has given the maximum of 200 credentials that have not ended yet.",
        "Use a credential until its end instead of getting one for each request. Wait for the number of seconds in the header Retry-After.",
        page: "/docs/agents/concepts/workload-identity#refusals";
    TooManyReports 429 "too_many_reports": "There were too many reports from this address.",
        "Wait for the number of seconds in the header Retry-After, then send the report again.",
        page: "/docs/agents/concepts/credentials#leaks";
    TooManyMails 429 "too_many_mails": "You have asked for too many mails.",
        "Wait for the number of seconds in the header Retry-After, then ask again.",
        page: "/docs/agents/concepts/people#codes-of-links";
    TooManyStreams 429 "too_many_streams": "You have as many event streams open as one person or agent may have at once.",
        "Close one of your streams, or wait for the number of seconds in the header Retry-After: one that was cut off has ended by then.",
        page: "/docs/agents/concepts/notifications#the-stream";
    TooManyChanges 429 "too_many_changes": "You have changed as much in a day as one person may, with all of their agents.",
        "Wait for the number of seconds in the header Retry-After, then send the request again. Requests that only take rights away still work.",
        page: "/docs/agents/concepts/quotas";
    ProbeBusy 429 "probe_busy": "This probe is being run, or was run a moment ago.",
        "Wait for the number of seconds in the header Retry-After, then send the request again, or read the result with GET /api/agents/{agent}/probes.",
        page: "/docs/agents/concepts/probes";
    TooManyHashes 429 "too_many_hashes": "The server cannot check more passwords at the moment.",
        "Wait for the number of seconds in the header Retry-After, then try again.";
    TooManyKeys 429 "too_many_idempotency_keys": "You have the maximum number of kept responses.",
        "Send the request without Idempotency-Key, or wait until older keys expire, 24 hours after their use.",
        page: "/docs/agents/concepts/idempotency";

    Internal 500 "internal": "The server failed. The error was logged with this request_id.",
        "Send this request_id to the operator of this server.";

    DatabaseUnavailable 503 "database_unavailable": "The database does not answer at the moment.",
        "Wait for the number of seconds in the header Retry-After, then send the request again, with the same Idempotency-Key if it had one.";
    StorageFull 503 "storage_full": "The database cannot grow: it has reached the size that the operator allows, or its disk is full.",
        "Ask the operator to raise the variable database_max_mib, or to free space on the disk. Requests that only read work, and so do those that only revoke, unless the disk itself is full.";
    DatabaseTooNew 503 "database_too_new": "A newer release has upgraded the database, and this release must not use it.",
        "Ask the operator to deploy the newer release here too.";
    ProviderUnavailable 503 "provider_unavailable": "The provider does not answer at the moment, or not as it should.",
        "Wait for the number of seconds in the header Retry-After, then begin again at /login, or sign in in another way.",
        page: "/docs/agents/concepts/providers#what-can-go-wrong";
    KeySetUnavailable 503 "key_set_unavailable": "The key set that verifies this token cannot be read.",
        "Wait for the number of seconds in the header Retry-After, then send a new token. If it stays so, ask an admin to compare the sentence in detail with the address of the keys, and the operator to name their host in the variable outbound_hosts.",
        page: "/docs/agents/concepts/workload-identity#keys";
    MailDisabled 503 "mail_disabled": "This server sends no mail, because the variable mail_provider is not set.",
        "Ask the operator to set the variables mail_provider, mail_from and mail_token, as the page in doc_url describes.",
        page: "/docs/agents/concepts/mail#setting-it-up";
    PublicUrlMissing 503 "public_url_missing": "This server does not know its own address, because the variable public_url is not set.",
        "Ask the operator to set the variable public_url.",
        page: "/docs/agents/concepts/people#codes-of-links";
    SigningDisabled 503 "signing_disabled": "This server signs no tokens, because the variable signing_key is not set.",
        "Ask the operator to set the variable signing_key to a value of at least 32 characters. Until then, let the service introspect tokens with POST /auth/introspect.",
        page: "/docs/agents/concepts/oauth#keys";
    SecretsDisabled 503 "secrets_disabled": "This server cannot store or read encrypted secrets, because the variable secrets_key does not hold the key for them.",
        "Ask the operator to set the variable secrets_key to a value of at least 32 characters, or to its previous value. Then send the request again.",
        page: "/docs/agents/concepts/secrets#without-a-key";
    AuditKeyMissing 503 "audit_key_missing": "The audit trail is not sealed, because the variable audit_key is not set.",
        "Ask the operator to set the variable audit_key.", page: "/docs/agents/concepts/audit#verifying";
}
