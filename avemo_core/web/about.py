"""The About page: what is read, how, how well, and what happens to a clip.

Numbers are the server's own settings, constants of the code that reads, and the card in the checkpoint. What the card
does not hold is not shown.
"""

from html import escape
from typing import TYPE_CHECKING, Any

from ..calibration import CONDITIONS
from ..labels import EMOTIONS
from ..look import icon
from ..types import FACE_STEP_S, SAMPLE_RATE, WINDOW_HOP_S, WINDOW_S
from .services import Services, Settings
from .theme import markup
from .visitors import size_in_words

if TYPE_CHECKING:
    from ..analyzer import Analyzer

# Corpora by their name in a card: what they are, and the licence as their source states it.
CORPORA = {
    "ferplus": (
        "FER2013 pictures with FER+ votes",
        "faces from web search, ten votes each",
        "votes MIT; pictures: none stated",
    ),
    "ravdess": ("RAVDESS", "acted speech, English, adults", "CC BY-NC-SA 4.0"),
    "emodb": ("EmoDB", "acted speech, German, adults", "none stated"),
    "nemo": ("nEMO", "acted speech, Polish, adults", "CC BY-NC-SA 4.0"),
    "ased": ("ASED", "acted speech, Amharic, adults", "none stated"),
    "java_sed": ("Java-SED", "acted face and voice, Javanese, adults", "MIT"),
    "java_sed_voice": ("Java-SED, sound only", "acted speech, Javanese, adults", "MIT"),
}
CONDITION_NAMES = {"face": "Face alone", "voice": "Voice alone", "both": "Both together"}


def about_page(services: Services) -> None:
    """The page, inside an open Blocks or route."""
    markup(about_html(services.analyzer, services.settings))


def about_html(analyzer: "Analyzer", settings: Settings) -> str:
    return (
        '<link rel="stylesheet" href="/static/css/about.css"><div class="page about">'
        + _opening()
        + _how()
        + _model(analyzer)
        + '<div class="g g2 mt5">'
        + _limits()
        + _privacy(settings)
        + "</div>"
        + _licences(analyzer.card)
        + "</div>"
    )


def minutes(seconds: float) -> str:
    """ "30 minutes", "90 s"."""
    if seconds < 120 and seconds % 60:
        return f"{seconds:g} s"
    count = seconds / 60
    return f"{count:g} minute{'' if count == 1 else 's'}"


def _opening() -> str:
    chips = "".join(f'<li class="chip em-{name}">{icon(name)}{name}</li>' for name in EMOTIONS)
    return f"""
<h1 class="verdict">AVEMO reads what a face and a voice express. <span class="w">What a person feels, it does not
know.</span></h1>
<div class="g g2 mt6">
<section class="panel big"><h2>What it reads</h2>
<p>One person's expression in a clip or live, as one of seven emotions, at every moment and for the whole:</p>
<ul class="chips">{chips}</ul>
<ul class="points">
{_point("face", "<b>The face</b>: how it looks from moment to moment.")}
{_point("voice", "<b>The voice</b>: how something is said, not the words.")}
{_point("both", "<b>Both together</b>. Either alone is enough; what is missing is named, never filled in.")}
{_point("q", "Where nothing stands out, or face and voice disagree, <b>it gives no answer</b> and says why.")}
</ul></section>
<section class="panel big"><h2>What it does not</h2>
<ul class="points first">
{_point("no", "It does not measure what someone feels, thinks or intends. One can smile without joy.")}
{_point("no", "It does not recognise who someone is. Only you say which face and voice are one person's.")}
{_point("no", "It does not read words, gestures, posture, or what happens around a person.")}
{_point("no", "It is not made for decisions about people: not for hiring, teaching, policing, insurance or health.")}
</ul></section></div>"""


def _how() -> str:
    steps = (
        ("up", "A clip comes in", "Picture and sound are taken apart, each with its own true times."),
        (
            "face",
            "Faces and speech",
            f"Faces are found {1 / FACE_STEP_S:g} times a second and followed; the sound becomes a picture of pitch and "
            f"loudness at {SAMPLE_RATE / 1000:g} kHz.",
        ),
        (
            "both",
            f"Windows of {WINDOW_S:g} s",
            f"One begins every {WINDOW_HOP_S:g} s. In each, one network looks, one listens, and both confer.",
        ),
        (
            "check",
            "A probability that means something",
            "Answers are scaled on people the training never saw, so that 0.7 should be right in about 7 of 10 such clips.",
        ),
        (
            "apart",
            "A verdict, or none",
            "Under the confidence that is needed, AVEMO says that it has no clear reading, and why.",
        ),
    )
    items = "".join(
        f'<li><span class="n">{n}</span>{icon(name)}<h3>{title}</h3><p>{text}</p></li>'
        for n, (name, title, text) in enumerate(steps, 1)
    )
    return f"""
<section class="panel big mt5" id="how"><div class="ph"><h2>How it works</h2></div><ol class="steps">{items}</ol>
<div class="g g2 mt5 explain"><div><h3>The heat on face and sound</h3>
<p>Every place on the face and in the sound adds to an emotion or takes away from it. The heat shows what was added where;
together with a constant it is exactly what the network said before scaling. It shows what the model used, not why a
person looks or sounds that way.</p></div>
<div><h3>How much each counted</h3>
<p>The share of face and voice is their Shapley value: what each adds to the probability, averaged over which of them
comes first. Start, face and voice add up to the answer.</p></div></div></section>"""


def _model(analyzer: "Analyzer") -> str:
    facts = [("Model", escape(analyzer.model_id)), ("Runs on", escape(str(analyzer.device)))]
    parameters = sum(p.numel() for p in analyzer.model.parameters())
    facts.append(("Size", f"{parameters / 1e6:.1f} million parameters"))
    figures = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    needed = "".join(
        f"<tr><td>{CONDITION_NAMES[c]}</td><td class=ra>{analyzer.calibration.of(c).threshold:.2f}</td></tr>"
        for c in CONDITIONS
    )
    measured = _measured(analyzer.card)
    return f"""
<section class="panel big mt5" id="card"><div class="ph"><h2>Model card</h2><p>as written in the checkpoint that is
loaded now</p></div><dl class="facts">{figures}</dl>
<div class="cards mt5"><div><h3>How well it reads</h3>{measured}</div>
<div><h3>Confidence needed for a verdict</h3><table class="mt3"><thead><tr><th>Reading</th><th class=ra>at least</th></tr>
</thead><tbody>{needed}</tbody></table></div></div></section>"""


def _measured(card: dict[str, Any]) -> str:
    """Tables of what the card has numbers for: {"dev": {baseline: {condition: {corpus: {n, accuracy, uar}}}}}."""
    kind = "People the training never saw; the scaling was chosen on them, so these numbers are somewhat kind"
    titles = {"none": kind, "unlabelled": "The same people, each read against a baseline of all of their clips"}
    tables = []
    for baseline, title in titles.items():
        rows = "".join(
            _row(condition, corpus, numbers)
            for condition in CONDITIONS
            for corpus, numbers in card.get("dev", {}).get(baseline, {}).get(condition, {}).items()
        )
        if rows:
            tables.append(
                f'<p class="small dim mt2">{title}.</p><div class="scroll" tabindex="0" role="group" aria-label="{title}">'
                "<table><thead><tr><th>Reading</th><th>Material</th><th class=ra>Clips or pictures</th>"
                "<th class=ra>Accuracy</th><th class=ra>Mean recall of the emotions</th></tr></thead>"
                f"<tbody>{rows}</tbody></table></div>"
            )
    return "".join(tables) or '<p class="dim mt2">Nothing was measured for this checkpoint: do not rely on its readings.</p>'


def _row(condition: str, corpus: str, numbers: dict[str, Any]) -> str:
    name = CORPORA[corpus][0] if corpus in CORPORA else corpus
    return (
        f"<tr><td>{CONDITION_NAMES[condition]}</td><td>{escape(name)}</td><td class=ra>{numbers['n']:,}</td>"
        f"<td class=ra>{_share(numbers.get('accuracy'))}</td><td class=ra>{_share(numbers.get('uar'))}</td></tr>"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _limits() -> str:
    return f"""
<section class="panel big"><h2>Where it goes wrong</h2><ul class="points first">
{_point("warn", "<b>The voices it learned from are actors'</b>, who show more than people in daily life do.")}
{_point("warn", "<b>Faces differ more than expressions do.</b> A stranger's face at rest can be read as sad or angry.")}
{_point("warn", "<b>It learned from few voices</b>, all of adults, in few languages. For others nothing is known.")}
{_point("warn", "<b>Small, dark, turned or covered faces</b>, music and several voices at once are harder.")}
</ul></section>"""


def _privacy(settings: Settings) -> str:
    place = "the Space that runs AVEMO" if settings.space else "the computer that runs AVEMO"
    return f"""
<section class="panel big" id="privacy"><h2>What happens to your clip</h2><ul class="points first">
{
        _point(
            "shield",
            f"It goes to {place} and nowhere else. No other host is asked for anything, nothing is counted or reported.",
        )
    }
{
        _point(
            "lock",
            "Only your browser can open it and its reading: a cookie with a random number is the key. There is no account.",
        )
    }
{
        _point(
            "loop",
            f"Clip and reading are deleted {minutes(settings.keep_s)} after you last used them, at once when you say "
            "Delete now, and when the server stops. Further clips of a person go as soon as yours is read against "
            "them; the numbers learned from them, and a video made on Inspect, go with the reading.",
        )
    }
{
        _point(
            "cam",
            f"Live pictures and sound lie in memory for {WINDOW_S:g} s and are never written to a disk. What Live learns of "
            "you when you ask it to is a row of numbers in memory, gone when you press Forget or Live stops.",
        )
    }
{
        _point(
            "info",
            f"A clip may have {size_in_words(settings.max_bytes)} and {minutes(settings.max_duration_s)}. "
            f"{settings.results_per_visitor} readings are kept for you at a time; the oldest goes first.",
        )
    }
{_point("no", "Nothing that you send is used for training.")}
</ul></section>"""


def _licences(card: dict[str, Any]) -> str:
    counts: dict[str, int] = card.get("data", {})
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(what)}</td><td class=ra>{counts[key]:,}</td><td>{escape(licence)}</td></tr>"
        for key, (name, what, licence) in CORPORA.items()
        if key in counts
    )
    heads = "<th>Data</th><th>What it is</th><th class=ra>Clips</th><th>Licence as stated</th>"
    table = (
        '<div class="scroll mt3" tabindex="0" role="group" aria-label="Data">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else '<p class="dim mt2">The checkpoint does not say what it was trained on.</p>'
    )
    return f"""
<section class="panel big mt5" id="licence"><div class="ph"><h2>Licence and data</h2></div>
<p>The code is free under the MIT licence. The weights are for research: the recordings they learned from have licences of
their own, some of them without commercial use. The examples on the first page are drawn and synthesised.</p>
{table}</section>"""


def _point(name: str, text: str) -> str:
    return f"<li>{icon(name)}<span>{text}</span></li>"
