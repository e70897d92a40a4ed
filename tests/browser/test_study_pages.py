"""The study's own pages in a real browser: joining, signing in, choosing a study, people; no serious axe finding."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select

from annotate import accounts, queue
from annotate.assignment import choose, chosen_names
from annotate.schema import Lease
from annotate.store import Home, Store
from tests.browser import study
from tests.browser.accessibility import serious
from tests.browser.conftest import watch
from tests.browser.study import PASSWORD

NARROW_DARK_RUSSIAN = {"viewport": {"width": 820, "height": 1100}, "color_scheme": "dark", "locale": "ru-RU"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study_pages")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    made = Store.create(Home(folder))
    study.make_study(made, folder, clips=3)
    study.make_account(made, "Lead", ("lead", "rater"))
    study.make_account(made, "R01")
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(store: Store, folder: Path) -> Iterator[str]:
    with study.running(folder) as found:
        yield found


@pytest.fixture
def open_page(launch: Callable[..., Browser], address: str, store: Store) -> Iterator[Callable[..., Page]]:
    """open_page(path, name=None, **context options): signed in under that name. Errors on any page fail the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def opened(path: str, name: str | None = None, **options: object) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = launch().new_context(base_url=address, **options)  # type: ignore[arg-type]
        contexts.append(context)
        if name:
            study.sign_in(context, store, address, name)
        page = context.new_page()
        watch(page, address, problems)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


def invitation(store: Store, **options: object) -> str:
    with store.write() as session:
        return f"/study/join/{accounts.invite(session, None, ['rater'], **options)}"  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, NARROW_DARK_RUSSIAN], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/study/sign-in", None),
        ("/study/join/nothing", None),
        ("", None),
        ("/study/", "Lead"),
        ("/study/", "R01"),
        ("/study/account", "R01"),
        ("/study/people", "Lead"),
        ("/study/nothing", "R01"),
    ],
)
def test_a_page_stands_in_its_frame_and_axe_finds_nothing(
    open_page: Callable[..., Page], store: Store, path: str, name: str | None, options: dict[str, object]
) -> None:
    page = open_page(path or invitation(store), name, **options)
    assert page.locator("h1:visible").count() == 1
    assert page.locator("main").count() == 1
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), "the page scrolls sideways"
    assert serious(page) == []


def test_a_guest_joins_and_rates_with_the_keyboard_alone(open_page: Callable[..., Page], store: Store) -> None:
    page = open_page(invitation(store))
    for typed in ("R42", PASSWORD, PASSWORD):
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/study/")
    assert page.locator("h1").inner_text() == "Choose a study."
    assert "Not started yet, clips: " in page.locator(".studies").inner_text()
    page.get_by_role("link", name="Tones").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/study/rate/*")
    page.get_by_role("heading", name="Which emotion").wait_for()


def test_signing_in_leads_back_to_where_one_was(open_page: Callable[..., Page]) -> None:
    page = open_page("/study/rate/1")
    page.wait_for_url("**/study/sign-in?next=/study/rate/1")
    page.get_by_label("Name").fill("R01")
    page.get_by_label("Password").fill("a wrong password")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert "Name or password is wrong" in page.get_by_role("alert").inner_text()
    assert page.evaluate("document.activeElement.id") == "password", "the cursor waits where the mistake is likely"
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/study/rate/1")


def test_a_lead_invites_someone_and_a_hostile_name_is_shown_as_text(open_page: Callable[..., Page], address: str) -> None:
    lead = open_page("/study/people", "Lead")
    lead.get_by_role("button", name="Make a link").click()
    link = lead.get_by_label("Link of the invitation").input_value()
    assert link.startswith(f"{address}/study/join/")
    lead.get_by_role("button", name="Copy").click()
    lead.get_by_role("button", name="Copied").wait_for()
    guest = open_page(link)
    hostile = '<img src=x onerror="alert(1)">'
    guest.get_by_label("Name").fill(hostile)
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same password again").fill(PASSWORD)
    guest.get_by_role("button", name="Make my account").click()
    guest.wait_for_url("**/study/")
    assert hostile in guest.locator("header").inner_text()
    lead.goto("/study/people")
    assert hostile in lead.locator("main").inner_text()
    lead.get_by_role("button", name=f"Disable: {hostile}").click()
    lead.get_by_role("button", name=f"Enable: {hostile}").wait_for()
    guest.reload()
    guest.wait_for_url("**/study/sign-in?next=**")


def test_a_lead_chooses_raters_with_the_keyboard_and_the_other_is_sent_away(
    open_page: Callable[..., Page], store: Store, folder: Path
) -> None:
    chosen, other = (study.make_account(store, f"chosen {k}") for k in (1, 2))
    made = study.make_study(store, folder, clips=3, name="Few")
    raters = {k: open_page(f"/study/rate/{made}", f"chosen {k}") for k in (1, 2)}
    for page in raters.values():
        page.get_by_role("heading", name="Which emotion").wait_for()
    lead = open_page(f"/study/lead/{made}", "Lead")
    form = lead.locator("#who")
    expect(form.get_by_role("checkbox", name="chosen 1")).to_be_hidden()
    form.get_by_role("radio", name="Every rater").focus()
    lead.keyboard.press("ArrowRight")
    form.get_by_role("checkbox", name="chosen 1").focus()
    lead.keyboard.press("Space")
    lead.keyboard.press("Enter")
    lead.wait_for_url("**#who")
    expect(lead.locator("#who .ph p")).to_have_text("only those chosen")
    expect(form.get_by_role("checkbox", name="chosen 1")).to_be_checked()
    expect(form.get_by_role("checkbox", name="chosen 2")).not_to_be_checked()
    with store.read() as session:
        assert chosen_names(session) == {made: ["chosen 1"]}
        held = {account: queue.enrolment_of(session, made, account) for account in (chosen, other)}
        leases = select(Lease.enrolment_id).where(Lease.state == "open")
        assert set(session.scalars(leases)) & {row.id for row in held.values() if row} == {held[chosen].id}  # type: ignore[union-attr]
    assert serious(lead) == []
    raters[1].reload()
    raters[1].get_by_role("heading", name="Which emotion").wait_for()
    raters[2].reload()
    expect(raters[2].get_by_role("heading", level=1)).to_contain_text("There is no study here for you to rate")
    raters[2].get_by_role("link", name="To the studies").click()
    expect(raters[2].locator(".studies")).to_contain_text("Tones")
    expect(raters[2].locator(".studies")).not_to_contain_text("Few")


def test_a_lead_renames_a_study_invites_for_it_and_changes_roles(
    open_page: Callable[..., Page], store: Store, folder: Path
) -> None:
    made = study.make_study(store, folder, clips=3, name="Some")
    study.make_account(store, "helper")
    with store.write() as session:
        choose(session, None, made, True, [])
    page = open_page(f"/study/lead/{made}", "Lead")
    page.get_by_label("Name of the study").fill("Some tones")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Some tones")
    page.goto("/study/people")
    page.get_by_label("Chosen for the study").select_option("Some tones")
    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_role("region", name="Open invitations")).to_contain_text("for Some tones")
    row = page.get_by_role("row", name="helper")
    row.locator("summary").press("Enter")
    row.get_by_role("checkbox", name="researcher").press("Space")
    row.get_by_role("button", name="Save the roles").press("Enter")
    expect(page.get_by_role("row", name="helper")).to_contain_text("rater, researcher")
    page.get_by_role("row", name="Lead").locator("summary").press("Enter")
    expect(page.get_by_role("row", name="Lead").get_by_role("checkbox", name="lead")).to_be_disabled()
    assert serious(page) == []


def test_the_language_and_the_theme_are_kept(open_page: Callable[..., Page]) -> None:
    page = open_page("/study/account", "R01", color_scheme="light")
    page.get_by_role("button", name="Русский").click()
    page.get_by_role("status").wait_for()
    assert page.evaluate("document.documentElement.lang") == "ru"
    page.get_by_role("button", name="Тёмная тема").click()
    page.goto("/study/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("h1").inner_text() == "Выберите исследование."
    page.goto("/study/account")
    page.get_by_role("button", name="English").click()
    page.get_by_role("status").wait_for()
