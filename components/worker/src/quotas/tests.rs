use common::role::Role;
use service::{settings::Settings, testing::TestApp};

use crate::{tick::tests::tick, with_neighbours};

/// R685, R693: who has come to use four fifths of a quota is told once, and again when it comes about again: the person, or the active admins
/// of the tenant.
#[tokio::test]
async fn four_fifths_of_a_quota_are_told() {
    let quotas = store::usage::Quotas { agents: 5, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let gone = t.user(&ada.tenant, "gone@example.com", Role::Admin).await;
    t.execute(&format!("UPDATE users SET deactivated_at = 1 WHERE id = '{}'", gone.user)).await.unwrap();
    let other = t.tenant("other").await;
    t.user(&other, "zoe@example.com", Role::Admin).await;
    let told = async |expected: &[&str]| {
        t.wait(61);
        tick(&t).await;
        let sql =
            "SELECT u.email || ': ' || n.title FROM notifications n JOIN users u ON u.id = n.user_id ORDER BY n.id";
        assert_eq!(t.texts(sql).await, expected);
    };
    for number in 0..3 {
        t.agent(&max, &format!("max-{number}"), "*").await;
    }
    told(&[]).await;
    t.agent(&max, "max-3", "*").await;
    let of_max = "max@example.com: You have used most of a quota";
    told(&[of_max]).await;
    told(&[of_max]).await;
    let body = t.texts("SELECT body FROM notifications").await.concat();
    assert!(body.starts_with("You have 4 of 5 agents, and store 0 of 1024 MiB. "), "{body}");
    // R647: people are told of no request.
    assert!(!body.contains("/api/"), "{body}");

    // What goes up and down a little is said once.
    let archive = async |at: &str, names: &str| {
        t.execute(&format!("UPDATE agents SET archived_at = {at} WHERE name IN ({names})")).await.unwrap();
    };
    archive("1", "'max-3'").await;
    told(&[of_max]).await;
    archive("NULL", "'max-3'").await;
    told(&[of_max]).await;
    archive("1", "'max-2', 'max-3'").await;
    told(&[of_max]).await;
    archive("NULL", "'max-2', 'max-3'").await;
    told(&[of_max, of_max]).await;

    // Of the tenant as a whole each active admin is told, and nobody of another one.
    t.execute(&format!("UPDATE usage SET bytes = {} WHERE subject_id = '{}'", quotas.bytes * 4, ada.tenant))
        .await
        .unwrap();
    let of_all = "ada@example.com: Your tenant has used most of a quota";
    told(&[of_max, of_max, of_all]).await;
    told(&[of_max, of_max, of_all]).await;
}
