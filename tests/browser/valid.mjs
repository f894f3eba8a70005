// What the validator of HTML asks of every page.

import { HtmlValidate } from "./packages.mjs";

export const validator = new HtmlValidate({
  extends: ["html-validate:recommended", "html-validate:document"],
  rules: {
    // Style of writing, of which the templates have another one.
    "doctype-style": ["error", { style: "lowercase" }],
    "no-trailing-whitespace": "off",
    // A button submits its form unless it says otherwise (HTML Standard, section 4.10.6), and a full page has many.
    "no-implicit-button-type": "off",
    "long-title": "off",
    // A row has its own form with the same hidden fields, and a button says more to those who cannot see.
    "form-dup-name": "off",
    // Ours come from this site, under a path that says their digest.
    "require-sri": ["error", { target: "crossorigin" }],
    // `role=search` on a form: the element <search> is younger than some browsers in use.
    "prefer-native-element": "off",
  },
});
