// Making a study: own labels are shown when they are chosen; while it is made, a bar says how far it is.

const own = document.getElementById('own-labels');
if (own) {
  const show = () => {
    own.hidden = document.querySelector('input[name=scheme]:checked')?.value !== 'own';
  };
  for (const radio of document.querySelectorAll('input[name=scheme]')) radio.addEventListener('change', show);
  show();
}

const making = document.getElementById('making');

async function look() {
  const answer = await fetch(making.dataset.state).catch(() => null);
  if (answer?.ok) {
    const { done, total, clip, finished } = await answer.json();
    if (finished) {
      location.reload();
      return;
    }
    const share = total ? (100 * done) / total : 0;
    const bar = making.querySelector('.pb');
    bar.setAttribute('aria-valuenow', Math.round(share));
    bar.firstElementChild.style.width = `${share}%`;
    if (total) making.querySelector('[role=status]').textContent = `${done} of ${total} clips, now ${clip}`;
  } else if (answer) {
    location.reload(); // the server's own sentence
    return;
  }
  setTimeout(look, 700);
}

if (making) look();
