//! The stage: a server with the sample shop, and the proxy in front of it.

use anyhow::Context as _;
use tokio_postgres::{Config, NoTls};

use super::home::Home;
use super::postgres::{Postgres, SUPERUSER};
use super::proxy::{Ports, Proxy};
use crate::ids::{NAME, random_base32};

/// The database.
pub(super) const DATABASE: &str = "shop";
/// The agent's role.
pub(super) const AGENT: &str = "shop_agent";
/// Some 200,000 rows in all.
const SCALE: u32 = 360;
const SHOP: &str = include_str!("../../../fixtures/shop.sql");
/// All rows, each once: a partition's are its parent's.
const COUNT: &str = "SELECT sum(reltuples)::bigint FROM pg_catalog.pg_class \
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples > 0";

/// Everything that runs. Fields are dropped in their order: the proxy ends before its server.
#[derive(Debug)]
pub(super) struct Shop<'a> {
    pub(super) proxy: Proxy,
    postgres: Postgres,
    pub(super) home: &'a Home,
    /// How many rows the shop has.
    pub(super) rows: i64,
    agent: String,
    /// The token of the operator alice, the human behind the agent.
    pub(super) alice: String,
}

impl<'a> Shop<'a> {
    pub(super) async fn start(home: &'a Home, ports: Ports) -> anyhow::Result<Self> {
        let postgres = tokio::task::block_in_place(|| Postgres::start(home))?;
        let (agent, own, alice) = (random_base32(20), random_base32(20), random_base32(32));
        let rows = load(&postgres, &agent, &own).await.context("the sample shop cannot be loaded")?;
        let upstream = format!("postgres://{NAME}:{own}@127.0.0.1:{}/{DATABASE}?sslmode=disable", postgres.port);
        let proxy = Proxy::start(home, ports, &upstream, &alice).await?;
        Ok(Self { proxy, postgres, home, rows, agent, alice })
    }

    /// How the agent connects: through the proxy.
    pub(super) fn agent_dsn(&self) -> String {
        self.dsn(self.proxy.postgres())
    }

    /// The same without the proxy, for comparison.
    pub(super) fn direct_dsn(&self) -> String {
        self.dsn(&format!("127.0.0.1:{}", self.postgres.port))
    }

    fn dsn(&self, address: &str) -> String {
        format!("postgres://{AGENT}:{}@{address}/{DATABASE}", self.agent)
    }
}

/// Makes roles, database and rows. The agent owns the shop, so that only the proxy stands in its way.
async fn load(postgres: &Postgres, agent: &str, own: &str) -> anyhow::Result<i64> {
    let roles = [
        format!("CREATE ROLE {AGENT} LOGIN PASSWORD '{agent}'"),
        format!("CREATE ROLE {NAME} LOGIN PASSWORD '{own}'"),
        format!("CREATE DATABASE {DATABASE} OWNER {AGENT}"),
    ];
    let superuser = connect(postgres, SUPERUSER, &postgres.password, "postgres").await?;
    for sql in &roles {
        superuser.batch_execute(sql).await?;
    }
    let owner = connect(postgres, AGENT, agent, DATABASE).await?;
    owner.batch_execute(&format!("SET shop.scale = {SCALE}")).await?;
    owner.batch_execute(SHOP).await?;
    Ok(owner.query_one(COUNT, &[]).await?.try_get(0)?)
}

async fn connect(
    postgres: &Postgres,
    role: &str,
    password: &str,
    database: &str,
) -> anyhow::Result<tokio_postgres::Client> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(postgres.port).user(role).password(password).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with its client; what went wrong on it is the client's error.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}
