-- Who may call; `neap key new --tenant NAME` makes a key of your own for each.
return {
  acme = { keys = { "sha256:32a916e18f5f69076105837cfdaa4416ce723425f76f16ee78cdac85d8a0c896" } },
  bergamo = { keys = { "sha256:ae8743f2e3a5f9c5640fa2640f6349c2d883e134c1f47960672482116e728b19" } },
}
