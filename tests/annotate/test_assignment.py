"""Who rates a study, on both databases: only those chosen come in; who is no longer chosen loses clips, never answers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from annotate import accounts, queue
from annotate.accounts import Denied, accept, enable, invite, local_caller, set_roles
from annotate.answers import Answer
from annotate.assignment import NotYours, as_changed, candidates, choose, chosen_names, raters_named
from annotate.queue import Refused, claim, correct, save_draft, skip, submit
from annotate.schema import Account, Assignment, Audit, Draft, Lease, Rating, Study
from annotate.store import Store, StudyError
from annotate.verify import verify
from tests.annotate.material import add_account
from tests.annotate.small_study import make_raters, make_study
from tests.conftest import is_one_sentence

PASSWORD = "correct horse battery"
ANGER = Answer(label="anger", comment="злится")


def only(store: Store, study: int, *chosen: int) -> None:
    with store.write() as session:
        choose(session, None, study, True, chosen)


def everyone(store: Store, study: int) -> None:
    with store.write() as session:
        choose(session, None, study, False, [])


def enrol(store: Store, study: int, account: int) -> int:
    with store.write() as session:
        return queue.enrol(session, study, account).id


def open_leases(store: Store, enrolment: int) -> int:
    with store.read() as session:
        return len(session.scalars(select(Lease).where(Lease.enrolment_id == enrolment, Lease.state == "open")).all())


# ---------------------------------------------------------------- coming in


def test_every_rater_rates_a_study_until_somebody_is_chosen(store: Store):
    study, (one, other) = make_study(store), (add_account(store, name) for name in ("R01", "R02"))
    assert enrol(store, study, one)
    only(store, study, one)
    with pytest.raises(NotYours) as error:
        enrol(store, study, other)
    assert is_one_sentence(str(error.value))
    everyone(store, study)
    assert enrol(store, study, other)


def test_a_study_for_nobody_yet_lets_nobody_in(store: Store):
    study = make_study(store)
    only(store, study)
    with pytest.raises(NotYours):
        enrol(store, study, add_account(store, "R01"))


def test_a_choice_is_of_one_study_alone(store: Store):
    first, second = make_study(store), make_study(store, name="Another")
    rater = add_account(store, "R01")
    only(store, first, rater)
    only(store, second)
    assert enrol(store, first, rater)
    with pytest.raises(NotYours):
        enrol(store, second, rater)


# ---------------------------------------------------------------- no longer chosen


def test_what_someone_holds_who_is_no_longer_chosen_goes_to_the_others_at_once(store: Store):
    study = make_study(store, ("main",) * 3, design=queue.Design(repeat_share=0.0, replications=1))
    first, second = make_raters(store, study, 2)
    assert len(claim(store, first[1])) == 3
    assert claim(store, second[1]) == []
    only(store, study, second[0])
    assert open_leases(store, first[1]) == 0
    assert len(claim(store, second[1])) == 3
    with pytest.raises(NotYours):
        claim(store, first[1])
    assert verify(store).problems == []


def test_an_answer_that_was_on_its_way_is_kept_as_a_draft_and_comes_back(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    token = claim(store, rater[1])[0].token
    only(store, study)
    with pytest.raises(Refused) as error:
        submit(store, rater[0], token, "k1", ANGER)
    assert (error.value.reason, error.value.kept) == ("late", True)
    with store.read() as session:
        assert session.scalars(select(Rating)).all() == []
        assert session.scalars(select(Draft)).one().answer["label"] == "anger"
    assert save_draft(store, rater[0], token, Answer(label="fear")), "what is typed is never lost"
    only(store, study, rater[0])
    back = claim(store, rater[1])[0]
    assert back.draft is not None
    assert (back.number, back.draft["label"]) == (1, "fear")


def test_ratings_stay_and_are_neither_edited_nor_skipped_any_more(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    shown = claim(store, rater[1])
    rating = submit(store, rater[0], shown[0].token, "k1", ANGER).rating_id
    only(store, study)
    for refused in (
        lambda: correct(store, rater[0], rating, "k2", Answer(label="fear")),
        lambda: skip(store, rater[0], shown[1].token),
        lambda: claim(store, rater[1]),
    ):
        with pytest.raises(NotYours):
            refused()
    again = submit(store, rater[0], shown[0].token, "k1", ANGER)
    assert (again.rating_id, again.clips) == (rating, None), "the same answer sent again is harmless"
    with store.read() as session:
        assert session.scalars(select(Rating.label)).all() == ["anger"]
        states = session.scalars(select(Lease.state).order_by(Lease.order_index)).all()
    assert states == ["answered", "released", "released", "released"]  # the last one came with the answer


def test_a_clip_of_another_brings_nobody_into_a_study_that_is_not_theirs(store: Store):
    study = make_study(store)
    (rater,) = make_raters(store, study, 1)
    stranger = add_account(store, "stranger")
    only(store, study, rater[0])
    with pytest.raises(NotYours):
        submit(store, stranger, claim(store, rater[1])[0].token, "k1", ANGER)
    with store.read() as session:
        assert queue.enrolment_of(session, study, stranger) is None
        assert session.scalars(select(Draft)).all() == []


def test_whoever_claims_while_the_choice_is_made_holds_nothing_afterwards(store: Store):
    study = make_study(store, ("main",) * 40)
    raters = make_raters(store, study, 4)
    start = threading.Barrier(5)

    def rate(rater: tuple[int, int]) -> int:
        start.wait()
        for k in range(8):
            try:
                submit(store, rater[0], claim(store, rater[1])[0].token, f"{rater[0]}-{k}", ANGER)
            except (NotYours, Refused):
                return k
        return 8

    with ThreadPoolExecutor(4) as pool:
        done = pool.map(rate, raters)
        start.wait()
        only(store, study, raters[0][0])
        answers = list(done)
    assert answers[0] == 8
    with store.read() as session:
        assert len(session.scalars(select(Rating)).all()) == sum(answers)
    assert [open_leases(store, enrolment) for _, enrolment in raters[1:]] == [0, 0, 0]
    assert verify(store).problems == []


# ---------------------------------------------------------------- the single user of a computer


def test_the_single_user_is_never_shut_out_until_there_is_a_password(store: Store):
    study, caller = make_study(store), local_caller(store)
    enrolment = enrol(store, study, caller.account_id)
    assert len(claim(store, enrolment)) == 3
    only(store, study)
    assert open_leases(store, enrolment) == 3
    assert len(claim(store, enrolment)) == 3
    with store.write() as session:
        token = invite(session, None, ["lead"], caller.name)
    accept(store, token, caller.name, PASSWORD)
    with pytest.raises(NotYours):
        claim(store, enrolment)


# ---------------------------------------------------------------- choosing


def test_only_raters_of_a_study_that_there_is_can_be_chosen(store: Store):
    study, rater = make_study(store), add_account(store, "R01")
    lead = add_account(store, "Lead")
    with store.write() as session:
        set_roles(session, None, lead, ["researcher"])
        with pytest.raises(StudyError, match=f"Account {lead} is no rater"):
            choose(session, None, study, True, [rater, lead])
        with pytest.raises(StudyError, match="Account 999 is no rater"):
            choose(session, None, study, True, [999])
        with pytest.raises(StudyError, match="There is no study 99"):
            choose(session, None, 99, True, [])
    with store.read() as session:
        assert session.scalars(select(Assignment)).all() == []


def test_who_can_be_chosen_and_who_is(store: Store):
    study = make_study(store)
    ids = {name: add_account(store, name) for name in ("R02", "R01", "R03")}
    only(store, study, ids["R01"], ids["R03"])
    with store.write() as session:
        enable(session, None, ids["R03"], False)
        enable(session, None, ids["R02"], False)
    with store.read() as session:
        found = [(one.name, one.disabled, one.chosen) for one in candidates(session, study)]
        assert found == [("R01", False, True), ("R03", True, True)]
        assert chosen_names(session) == {study: ["R01", "R03"]}
        assert raters_named(session, ["R01"]) == [ids["R01"]]
        with pytest.raises(StudyError, match=r"There is no rater 'R02'; there are: 'R01'\."):
            raters_named(session, ["R01", "R02"])
    with store.write() as session:
        set_roles(session, None, ids["R03"], ["researcher"])
    with store.read() as session:
        assert chosen_names(session) == {study: ["R01"]}
    everyone(store, study)
    with store.read() as session:
        assert chosen_names(session) == {}


def test_what_a_lead_changed_on_an_older_page_leaves_what_others_changed_meanwhile(store: Store):
    study = make_study(store)
    first, second, third, gone = (add_account(store, name) for name in ("R01", "R02", "R03", "R04"))
    only(store, study, first, gone)  # as the page shows it
    only(store, study, first, third)  # then one accepts a link, and one is shut out
    with store.write() as session:
        choose(session, None, study, True, as_changed(session, study, was=[first, gone], now=[first, gone, second]))
    with store.read() as session:
        assert chosen_names(session) == {study: ["R01", "R02", "R03"]}
    with store.write() as session:
        choose(session, None, study, True, as_changed(session, study, was=[first, second], now=[second]))
    with store.read() as session:
        assert chosen_names(session) == {study: ["R02", "R03"]}


@pytest.mark.parametrize("how", ["role", "disabled"])
def test_who_is_no_rater_any_more_gives_back_what_was_held(store: Store, how: str):
    ((account, enrolment),) = make_raters(store, make_study(store), 1)
    claim(store, enrolment)
    assert open_leases(store, enrolment) == 3
    with store.write() as session:
        if how == "role":
            set_roles(session, None, account, ["researcher"])
        else:
            enable(session, None, account, False)
    assert open_leases(store, enrolment) == 0


def test_the_log_tells_who_was_chosen_once_for_each_change(store: Store):
    study, (one, other) = make_study(store), (add_account(store, name) for name in ("R01", "R02"))
    only(store, study, one)
    only(store, study, one)
    only(store, study, other)
    with store.write() as session:
        choose(session, one, study, False, [other])
    with store.read() as session:
        rows = session.scalars(select(Audit).where(Audit.action == "raters chosen").order_by(Audit.number)).all()
    assert [(row.account_id, row.subject, row.detail) for row in rows] == [
        (None, f"study {study}", {"only_chosen": True, "added": [one], "removed": []}),
        (None, f"study {study}", {"only_chosen": True, "added": [other], "removed": [one]}),
        (one, f"study {study}", {"only_chosen": False, "added": [], "removed": []}),
    ]


# ---------------------------------------------------------------- invitations for a study


def test_who_accepts_an_invitation_for_a_study_is_chosen_for_it(store: Store):
    study = make_study(store)
    only(store, study)
    with store.write() as session:
        token = invite(session, None, ["rater"], study_id=study)
    account = accept(store, token, "R07", PASSWORD)
    assert enrol(store, study, account)
    with store.read() as session:
        row = session.scalars(select(Audit).where(Audit.action == "invitation accepted")).one()
    assert row.detail == {"account": account, "study": study}


def test_a_link_for_an_account_chooses_it_and_twice_is_once(store: Store):
    study = make_study(store)
    only(store, study)
    with store.write() as session:
        token = invite(session, None, ["rater"], "R07")
    accept(store, token, "R07", PASSWORD)
    for _ in range(2):
        with store.write() as session:
            token = invite(session, None, ["rater"], "R07", study_id=study)
        accept(store, token, "R07", PASSWORD)
    with store.read() as session:
        assert chosen_names(session) == {study: ["R07"]}


def test_a_link_for_an_account_that_is_no_rater_names_no_study(store: Store):
    study = make_study(store)
    only(store, study)
    with store.write() as session:
        token = invite(session, None, ["researcher"], "Ada")
    accept(store, token, "Ada", PASSWORD)
    with store.write() as session, pytest.raises(Denied, match="Only a rater can be chosen"):
        invite(session, None, ["rater"], "Ada", study_id=study)


def test_an_invitation_names_a_study_of_chosen_raters_and_is_for_a_rater(store: Store):
    study = make_study(store)
    with store.write() as session, pytest.raises(Denied, match="Every rater rates Joy at school"):
        invite(session, None, ["rater"], study_id=study)
    with store.write() as session, pytest.raises(StudyError, match="There is no study 99"):
        invite(session, None, ["rater"], study_id=99)
    only(store, study)
    with store.write() as session, pytest.raises(Denied, match="Only a rater can be chosen"):
        invite(session, None, ["lead"], study_id=study)
    with store.read() as session:
        assert session.scalars(select(accounts.Invitation)).all() == []
        assert session.get_one(Study, study).only_chosen
        assert session.scalars(select(Account)).all() == []
