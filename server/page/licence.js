// Commercial uses that licences speak of, in words.
export const USES = {
  image: "pictures may be sold", rentcivit: "may be run on Civitai", rent: "may be run for others", sell: "may be sold itself",
};
