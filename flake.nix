{
  description = "A root file system that is fresh at every boot; only what was opted in persists";

  inputs.nixpkgs.url = "nixpkgs";

  outputs = { self, nixpkgs }:
    let
      systems = nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" "riscv64-linux" ];
    in
    {
      nixosModules.impermanence = ./systemd-units/nixos;
      nixosModules.default = self.nixosModules.impermanence;

      packages = systems (system: rec {
        impermanence = nixpkgs.legacyPackages.${system}.callPackage ./systemd-units/nixos/package.nix { };
        default = impermanence;
      });
    };
}
