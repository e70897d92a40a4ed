// Adjudication by keyboard: 1 to 9 choose, Space plays, Enter settles and goes on. Typing a comment triggers nothing.

const judge = document.getElementById('judge');
const media = document.getElementById('media');
const comment = document.getElementById('comment');
const button = document.getElementById('settle');
const said = document.getElementById('said');
const choices = [...judge.querySelectorAll('.choice')];
let chosen = null;
let sending = false;

function choose(choice) {
  chosen = choice;
  for (const each of choices) each.setAttribute('aria-pressed', String(each === choice));
  button.disabled = false;
}

async function settle() {
  if (!chosen || sending) return;
  sending = true;
  const after = judge.dataset.after === '' ? null : Number(judge.dataset.after);
  const answer = await fetch(judge.dataset.send, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-csrf-token': document.querySelector('meta[name=csrf]').content },
    body: JSON.stringify({ label: chosen.dataset.label, comment: comment.value, after }),
  }).catch(() => null);
  if (answer?.ok) {
    location.assign(judge.dataset.next);
    return;
  }
  sending = false;
  const { error } = (await answer?.json().catch(() => ({}))) ?? {};
  said.textContent = error || 'AVEMO cannot be reached; your choice stands here, try again.';
}

const play = () => (media.paused ? media.play() : media.pause());

for (const choice of choices) choice.addEventListener('click', () => choose(choice));
button.addEventListener('click', settle);
document.getElementById('play')?.addEventListener('click', play);
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target === comment) {
    if (event.key === 'Escape') comment.blur();
    return;
  }
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit && choices[digit[1] - 1]) choose(choices[digit[1] - 1]);
  else if (event.code === 'Enter' && !event.target.closest('a, button:not(.choice)')) {
    event.preventDefault(); // on a label it settles; it does not choose again
    settle();
  } else if (event.code === 'Space' && media && !event.target.closest('a, button, audio, video')) {
    event.preventDefault();
    play();
  }
});
