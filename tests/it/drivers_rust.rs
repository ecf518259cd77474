//! What a program with tokio-postgres sees through the proxy is what it sees directly.

use std::time::SystemTime;

use futures_util::{SinkExt, TryStreamExt, future, pin_mut};
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls, binary_copy};

use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};

#[test]
fn tokio_postgres_sees_the_same_as_directly() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let db = TestDb::new("tokio");
    let direct = runtime.block_on(seen(&db.dsn()));
    assert!(direct.len() > 40, "{direct:#?}");
    for options in
        [Options { observe: true, ..Options::default() }, Options { policy: Some(ALLOW_ALL), ..Options::default() }]
    {
        let proxy = Proxy::start(&db, options);
        assert_eq!(runtime.block_on(seen(&proxy.dsn("postgres"))), direct);
    }
}

/// Everything that a program sees, as text.
async fn seen(dsn: &str) -> Vec<String> {
    let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = future::poll_fn(|cx| connection.poll_message(cx)).await {
            drop(sender.send(message));
        }
    });
    let mut seen = Vec::new();
    values(&client, &mut seen).await;
    pipeline(&client, &mut seen).await;
    portals(client_in_transaction(dsn).await, &mut seen).await;
    copies(&client, &mut seen).await;
    faults(&client, &mut seen).await;
    client.batch_execute("LISTEN rust; NOTIFY rust, 'payload'; DROP TABLE t_rust").await.unwrap();
    while let Some(message) = messages.recv().await {
        match message {
            AsyncMessage::Notification(heard) => {
                seen.push(format!("{} {}", heard.channel(), heard.payload()));
                break;
            }
            AsyncMessage::Notice(notice) => seen.push(fields(&notice)),
            _ => {}
        }
    }
    seen
}

async fn client_in_transaction(dsn: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn values(client: &Client, seen: &mut Vec<String>) {
    let sql =
        "SELECT $1::int2, $2::int8, $3::float8, $4::text, $5::bytea, $6::bool, $7::timestamptz, $8::int4[], $9::text";
    let epoch = SystemTime::UNIX_EPOCH;
    let absent: Option<&str> = None;
    let row = client
        .query_one(
            sql,
            &[&-7_i16, &i64::MAX, &0.1_f64, &"Größe", &&b"\0\xff"[..], &true, &epoch, &vec![1, 2, 3], &absent],
        )
        .await
        .unwrap();
    for column in row.columns() {
        seen.push(format!("{} {}", column.name(), column.type_()));
    }
    seen.push(format!(
        "{:?}",
        (row.get::<_, i16>(0), row.get::<_, i64>(1), row.get::<_, f64>(2), row.get::<_, String>(3))
    ));
    seen.push(format!("{:?}", (row.get::<_, Vec<u8>>(4), row.get::<_, bool>(5), row.get::<_, SystemTime>(6))));
    seen.push(format!("{:?}", (row.get::<_, Vec<i32>>(7), row.get::<_, Option<String>>(8))));
    let prepared = client.prepare_typed("SELECT $1, $2", &[Type::INT4, Type::NUMERIC]).await.unwrap();
    seen.push(format!("{:?} {}", prepared.params(), prepared.columns().len()));
}

/// Many statements on their way at once.
async fn pipeline(client: &Client, seen: &mut Vec<String>) {
    client.batch_execute("CREATE TABLE t_rust (id int PRIMARY KEY, data text)").await.unwrap();
    let insert = client.prepare("INSERT INTO t_rust VALUES ($1, $2)").await.unwrap();
    let counts = future::join_all((0..100).map(|id| {
        let insert = &insert;
        async move { client.execute(insert, &[&id, &"row"]).await }
    }));
    for count in counts.await {
        assert_eq!(count.unwrap(), 1);
    }
    // An error in the middle fails its own statement alone.
    let mixed = future::join_all((0..9_i32).map(|id| async move {
        client.query_one("SELECT 10 / ($1::int4 - 4)", &[&id]).await.map(|row| row.get::<_, i32>(0))
    }));
    for result in mixed.await {
        seen.push(match result {
            Ok(value) => value.to_string(),
            Err(error) => fields(error.as_db_error().unwrap()),
        });
    }
}

async fn portals(mut client: Client, seen: &mut Vec<String>) {
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t_rust ORDER BY id", &[]).await.unwrap();
    for rows_max in [3, 40, 1000, 5] {
        let rows = transaction.query_portal(&portal, rows_max).await.unwrap();
        seen.push(format!("{} rows from {:?}", rows.len(), rows.first().map(|row| row.get::<_, i32>(0))));
    }
    transaction.rollback().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    let inner = transaction.savepoint("deep").await.unwrap();
    let fault = inner.execute("INSERT INTO t_rust VALUES (1, 'twice')", &[]).await.unwrap_err();
    seen.push(fields(fault.as_db_error().unwrap()));
    inner.rollback().await.unwrap();
    let left: i64 = transaction.query_one("SELECT count(*) FROM t_rust", &[]).await.unwrap().get(0);
    seen.push(format!("{left} rows behind the savepoint"));
    transaction.commit().await.unwrap();
}

async fn copies(client: &Client, seen: &mut Vec<String>) {
    let sink = client.copy_in("COPY t_rust FROM STDIN (FORMAT binary)").await.unwrap();
    let writer = binary_copy::BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]);
    pin_mut!(writer);
    for id in 1000..3000_i32 {
        writer.as_mut().write(&[&id, &"binary"]).await.unwrap();
    }
    seen.push(format!("{} rows in", writer.finish().await.unwrap()));
    let stream = client.copy_out("COPY (SELECT id FROM t_rust ORDER BY id) TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<_> = binary_copy::BinaryCopyOutStream::new(stream, &[Type::INT4]).try_collect().await.unwrap();
    seen.push(format!("{} rows out, the last {}", rows.len(), rows[rows.len() - 1].get::<i32>(0)));
    // A writer that is dropped fails its COPY; one that sends nonsense gets the server's error.
    drop(client.copy_in::<_, bytes::Bytes>("COPY t_rust FROM STDIN").await.unwrap());
    let sink = client.copy_in("COPY t_rust FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes::Bytes::from("no number\tx\n")).await.unwrap();
    seen.push(fields(sink.finish().await.unwrap_err().as_db_error().unwrap()));
}

async fn faults(client: &Client, seen: &mut Vec<String>) {
    for sql in [
        "SELEC 1",
        "SELECT nosuch FROM t_rust",
        "INSERT INTO t_rust VALUES (NULL, 'x')",
        "INSERT INTO t_rust VALUES (1, 'twice')",
        "SELECT 1/0",
        "SELECT 'x'::int",
        "TABLE nosuch",
        "SELECT nosuch(1)",
        "DO $$ BEGIN RAISE 'mine' USING ERRCODE = 'AB123', DETAIL = 'd', HINT = 'h'; END $$",
    ] {
        seen.push(fields(client.batch_execute(sql).await.unwrap_err().as_db_error().unwrap()));
        let extended = client.query(sql, &[]).await.unwrap_err();
        seen.push(fields(extended.as_db_error().unwrap()));
    }
    client.batch_execute("DO $$ BEGIN RAISE NOTICE 'hello' USING HINT = 'h'; END $$").await.unwrap();
}

/// All fields of an error or notice.
fn fields(error: &DbError) -> String {
    format!("{error:?}")
}
