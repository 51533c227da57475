"""Does with the Python clients what applications do, and prints a JSON report: workload.py ADDRESS DATABASE"""

import asyncio
import datetime
import json
import sys

import dqlitedbapi
from dqliteclient import ClusterClient, OperationalError, connect, create_pool
from sqlalchemy import DateTime, ForeignKey, LargeBinary, String, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

SERIES = "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 20000) SELECT x, 'row ' || x FROM s"
SLOW = "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 4000000) SELECT count(*) FROM s"


def told(error, address):
    """The server's text, without the address that the client adds."""
    return str(error).removesuffix(f" to {address}")


async def with_client(address, database):
    """dqlite-client: asynchronous, no layer between it and the wire."""
    report = {}
    connection = await connect(address, database=database)
    await connection.execute("CREATE TABLE kinds (low INTEGER, high INTEGER, r REAL, t TEXT, b BLOB, empty BLOB, n TEXT, yes BOOLEAN, no BOOLEAN)")
    values = [-(2**63), 2**63 - 1, 1.5, "hé\nllo", b"\x00\x01\xff", b"", None, True, False]
    report["insert"] = await connection.execute("INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    [row] = await connection.fetchall("SELECT * FROM kinds")
    report["types"] = [str(row[0]), str(row[1]), row[2], row[3], row[4].hex(), len(row[5]), row[6], bool(row[7]), bool(row[8])]

    rows = await connection.fetchall(SERIES)
    report["manyRows"] = [len(rows), sum(x for x, _ in rows), rows[-1][1]]

    await connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
    async with connection.transaction():
        for n in range(10):
            await connection.execute("INSERT INTO numbers VALUES (?)", [n])
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM numbers")
            raise ValueError("give up")
    except ValueError:
        pass
    report["transactions"] = await connection.fetchval("SELECT count(*) FROM numbers")

    report["errors"] = []
    for statement in ["INSERT INTO numbers VALUES (1)", "INSERT INTO absent VALUES (1)", "nonsense"]:
        try:
            await connection.execute(statement)
        except OperationalError as error:
            report["errors"].append(f"{error.code} {told(error, address)}")

    try:
        await asyncio.wait_for(connection.fetchval(SLOW), timeout=0.05)
        report["canceled"] = "the query ended before its deadline"
    except TimeoutError:
        connection = await connect(address, database=database)
        report["canceled"] = await connection.fetchval("SELECT 1")
    await connection.close()
    return report


async def with_pool(address, database):
    """Eight tasks that insert at once through a pool; one that finds the database locked tries again."""
    pool = await create_pool([address], database=database, max_size=8)
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE written (writer INTEGER, n INTEGER)")

    async def write(writer):
        for n in range(10):
            while True:
                try:
                    async with pool.acquire() as connection:
                        await connection.execute("INSERT INTO written VALUES (?, ?)", [writer, n])
                    break
                except OperationalError as error:
                    if error.code != 5:
                        raise
                    await asyncio.sleep(0.001)

    await asyncio.gather(*(write(writer) for writer in range(8)))
    async with pool.acquire() as connection:
        rows = await connection.fetchval("SELECT count(DISTINCT writer * 100 + n) FROM written")
    await pool.close()
    return rows


async def with_cluster(address, database):
    cluster = ClusterClient.from_addresses([address])
    await cluster.set_weight(42, address=address)
    files = await cluster.dump(database)
    return {
        "leader": await cluster.find_leader() == address,
        "nodes": [str(node.role) for node in await cluster.cluster_info()],
        "weight": (await cluster.describe(address=address)).weight,
        "files": sorted(files),
        "image": files[database][:15].decode(),
    }


def with_dbapi(address, database):
    """dqlite-dbapi: PEP 249."""
    connection = dqlitedbapi.connect(address, database=database)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at DATETIME, day DATE, unix DATETIME)")
    at = datetime.datetime(2026, 2, 3, 4, 5, 6, 789000)
    cursor.execute("INSERT INTO events VALUES (?, ?, ?, ?)", [7, at, datetime.date(2026, 2, 3), 1700000000])
    rowid = cursor.lastrowid
    cursor.execute("SELECT * FROM events")
    row = cursor.fetchone()
    names = [column[0] for column in cursor.description]
    cursor.executemany("INSERT INTO events (id) VALUES (?)", [[i] for i in range(10, 20)])
    cursor.execute("SELECT count(*) FROM events")
    [total] = cursor.fetchone()
    try:
        cursor.execute("INSERT INTO events (id) VALUES (7)")
        failure = "none"
    except dqlitedbapi.IntegrityError as error:
        failure = f"{error.sqlite_errorcode} {told(error, address)}"
    connection.close()
    return {
        "rowid": rowid,
        "names": names,
        "types": [row[0], row[1] == at, str(row[2]), str(row[3])],
        "total": total,
        "failure": failure,
    }


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    active: Mapped[bool] = mapped_column(default=True)
    born: Mapped[datetime.datetime | None] = mapped_column(DateTime)
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def with_sqlalchemy(address, database):
    """sqlalchemy-dqlite: a mapped schema with a relation."""
    engine = create_engine(f"dqlite://{address}/{database}")
    Base.metadata.create_all(engine)
    born = datetime.datetime(1900, 1, 2, 3, 4, 5)
    with Session(engine) as session:
        session.add(Author(name="A", born=born, picture=b"\x00\x01", books=[Book(title=f"t{i}") for i in range(30)]))
        session.add(Author(name="B", active=False))
        session.commit()
    with Session(engine) as session:
        session.add(Author(name="A"))
        try:
            session.commit()
            failure = "none"
        except IntegrityError:
            session.rollback()
            failure = "IntegrityError"
    with Session(engine) as session:
        author = session.scalars(select(Author).where(Author.name == "A")).one()
        result = {
            "books": len(author.books),
            "types": [author.active, author.born == born, author.picture.hex()],
            "other": session.scalars(select(Author.active).where(Author.name == "B")).one(),
            "joined": session.scalar(select(func.count()).select_from(Book).join(Author)),
            "failure": failure,
        }
        session.delete(author)
        session.commit()
        result["afterDelete"] = session.scalar(select(func.count()).select_from(Book))
    engine.dispose()
    return result


def main():
    address, database = sys.argv[1:3]
    print(json.dumps({
        "client": asyncio.run(with_client(address, database)),
        "writers": asyncio.run(with_pool(address, database)),
        "cluster": asyncio.run(with_cluster(address, database)),
        "dbapi": with_dbapi(address, database + "-dbapi"),
        "sqlalchemy": with_sqlalchemy(address, database + "-orm"),
    }))


main()
