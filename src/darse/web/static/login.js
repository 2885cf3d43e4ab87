// A token behind the # of an address is not sent with it: it is put into the form, and taken out of the history.

const form = document.getElementById("by-token");
if (form && location.hash.length > 20) {
  form.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  form.requestSubmit();
}
