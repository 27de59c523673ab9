// node -r ./skew.cjs: the clock of this process is wrong by SKEW_MS.
const skew = Number(process.env.SKEW_MS ?? 0)
const Real = Date
global.Date = class extends Real {
  constructor(...given) {
    if (given.length) super(...given)
    else super(Real.now() + skew)
  }
  static now() { return Real.now() + skew }
}
