CREATE TABLE customers (
    id bigint PRIMARY KEY,
    first_name text NOT NULL,
    last_name text NOT NULL,
    email text NOT NULL UNIQUE,
    city text NOT NULL
);
INSERT INTO customers
SELECT i, 'first' || i, 'last' || i, 'user' || i || '@example.org', 'city' || i % 7 FROM generate_series(1, 2000) i;
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint REFERENCES customers, total numeric NOT NULL);
INSERT INTO orders SELECT i, i % 2000 + 1, i FROM generate_series(1, 20000) i;
CREATE VIEW customer_contacts AS SELECT id, email FROM customers;
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT ALL ON SCHEMA public TO PUBLIC;
ANALYZE;
